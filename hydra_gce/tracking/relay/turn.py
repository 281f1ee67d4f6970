"""When a relay may work: while no other one does, and not at once again after the store failed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from hydra_gce.lease import Lease, awake
from hydra_gce.tracking.relay.calls import NotOurTurn, Refused, StoreUnavailable

_POLL_S = 1.0
_LONGEST_REST_S = 30.0


class Turn:
    """``trouble`` is why the last work was not done, in one sentence; empty when all is well."""

    def __init__(self, lease: Lease, bucket: str) -> None:
        self.trouble = ""
        self.lease = lease
        self._bucket = bucket
        self._failures = 0
        self._again_at = 0.0

    def take(self, work: Callable[[], None], wait_s: float = 0.0) -> bool:
        """Does ``work``, or says in ``trouble`` why not. False: what is known of the store is to be forgotten.

        :param wait_s: for how long another relay is waited for. Where that is more than nothing, a store that has just
            failed is asked all the same.
        """
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        if awake() < self._again_at and not wait_s:
            return True
        try:
            self._wait_for_others(wait_s)
            work()
        except NotOurTurn as error:
            self.trouble = str(error)
        except StoreUnavailable as error:
            self.trouble = str(error)
            self._rest()
        except Refused as error:  # of the sweep's own runs: who logs in may not make them, for one
            self.trouble = f"MLflow refuses this sweep's runs: {error}. The records are safe in the bucket."
            self._rest()
        except (OSError, GoogleAPIError, GoogleAuthError) as error:
            self.trouble = (
                f"The MLflow records in gs://{self._bucket} could not be read: {error}. They are tried again."
            )
        else:
            self.trouble, self._failures = "", 0
            return True
        return False

    def _wait_for_others(self, wait_s: float) -> None:
        until = awake() + wait_s
        while not self.lease.hold():
            if awake() >= until:
                other = self.lease.other
                who = f"process {other.pid} on {other.host}" if other else "another process"
                raise NotOurTurn(
                    f"The MLflow records of this sweep are played by {who}; this one goes on when that one ends."
                )
            time.sleep(_POLL_S)

    def _rest(self) -> None:
        """A store that is down or busy is asked again later and later, not by all laptops at the same moment."""
        self._failures += 1
        longest = min(_LONGEST_REST_S, 2.0 ** (self._failures - 1))
        self._again_at = awake() + longest * random.uniform(0.5, 1.0)
