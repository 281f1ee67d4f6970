"""What must not be read in the bucket: the variables of a program's environment, passwords and tokens among them.

They are encrypted with a key made from the sweep's, which lies in the metadata of its VMs and on the laptop: who
may only read the bucket reads nothing of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

from hydra_gce.errors import SealBroken


def encrypt(key: bytes, purpose: str, variables: Mapping[str, str]) -> str:
    """Text that only ``decrypt`` with the same key and purpose can read; empty where there are no variables."""
    if not variables:
        return ""
    from cryptography.fernet import Fernet  # late: most sweeps pass nothing on

    return Fernet(_derived(key, purpose)).encrypt(json.dumps(dict(variables)).encode()).decode()


def decrypt(key: bytes, purpose: str, text: str) -> dict[str, str]:
    """:raises SealBroken: it was made with another key, or changed."""
    if not text:
        return {}
    from cryptography.fernet import Fernet, InvalidToken

    try:
        variables: dict[str, str] = json.loads(Fernet(_derived(key, purpose)).decrypt(text.encode()))
    except InvalidToken as error:
        raise SealBroken(f"{purpose}: its variables were not encrypted with this sweep's key") from error
    return variables


def _derived(key: bytes, purpose: str) -> bytes:
    """HKDF's first block (RFC 5869) for one purpose."""
    return base64.urlsafe_b64encode(
        hmac.new(key, f"variables/{purpose}\x01".encode(), hashlib.sha256).digest()
    )
