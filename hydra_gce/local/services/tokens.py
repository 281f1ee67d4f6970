"""`oauth2.googleapis.com/tokeninfo`: whose a token is."""

from __future__ import annotations

from hydra_gce.local.compute.cloud import Cloud
from hydra_gce.local.services.call import Call, Json

_LIFE_S = 3599


def token_info(cloud: Cloud, call: Call) -> Json:
    """The caller; Google's own names the token in the address, which is none here."""
    return {
        "email": call.caller.partition(":")[2],
        "email_verified": "true",
        "scope": "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/cloud-platform",
        "exp": str(int(cloud.clock()) + _LIFE_S),
        "expires_in": str(_LIFE_S),
    }
