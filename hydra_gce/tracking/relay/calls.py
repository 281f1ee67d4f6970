"""Calls to an MLflow store, whose errors tell what it will not have from what it cannot answer now."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from hydra_gce.errors import HydraGCEError
from hydra_gce.tracking.relay.address import without_password

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

_Answer = TypeVar("_Answer")


class StoreUnavailable(HydraGCEError):
    """The store does not answer now; what was to be written is written later."""


class Forbidden(StoreUnavailable):
    """The store does not let this user in, or not do this: it may, when somebody has seen to it."""


class NotOurTurn(StoreUnavailable):
    """Another relay plays these records."""


class Refused(HydraGCEError):
    """The store answered that it will not have this."""


class Unknown(Refused):
    """A record or a file is of a run or model that is not known, or not yet."""


class _Unclear(HydraGCEError):
    """A call failed, and the store answers others: it was restarted in between, or will not have this."""


class Calls:
    """To the store at ``uri``. ``may_write`` is asked before each: False where another relay has taken over.

    ``probe`` asks the store something that any store that is well can answer; None until it has been opened.
    """

    def __init__(self, uri: str, may_write: Callable[[], bool]) -> None:
        self._uri = uri
        self._may_write = may_write
        self.probe: Callable[[], object] | None = None

    def call(self, what: str, function: Callable[[], _Answer]) -> _Answer:
        """:raises Refused: the store will not have it; :raises StoreUnavailable: it cannot answer now."""
        if not self._may_write():
            raise NotOurTurn("Another relay has taken over this sweep's MLflow records.")
        try:
            return self._called(what, function)
        except _Unclear:
            pass
        try:
            return self._called(what, function)
        except _Unclear as again:
            raise Refused(str(again)) from again

    def _called(self, what: str, function: Callable[[], _Answer]) -> _Answer:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return function()
        except MlflowException as error:
            raise self._judged(what, error) from error
        except (TypeError, ValueError, OverflowError) as error:
            raise Refused(str(error)) from error
        except OSError as error:  # a connection that broke, a disk that is full
            raise self._unavailable(what, str(error)) from error
        except SQLAlchemyError as error:
            # A database that is down, or that another process makes at this moment.
            raise self._unavailable(what, str(error).splitlines()[0]) from error

    def _judged(self, what: str, error: MlflowException) -> HydraGCEError:
        """What an error of the store means."""
        message = without_password(str(error).splitlines()[0]) if str(error) else type(error).__name__
        status: int = error.get_http_status_code()
        # No record's fault: a token has run out, for one.
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return self._unavailable(what, f"it does not allow this user to ({message})", Forbidden)
        if _is_lost_connection(error.__cause__):
            return self._unavailable(what, message)
        if 400 <= status < 500 and error.error_code != "REQUEST_LIMIT_EXCEEDED":
            return Refused(message)
        if error.error_code == "INTERNAL_ERROR" and self._answers():
            return _Unclear(message)
        return self._unavailable(what, message)

    def _unavailable(
        self, what: str, why: str, kind: type[StoreUnavailable] = StoreUnavailable
    ) -> StoreUnavailable:
        return kind(
            f"MLflow at {without_password(self._uri)} could not {what}: {without_password(why).rstrip('.')}. "
            "The records are safe in the bucket and are tried again."
        )

    def _answers(self) -> bool:
        """Whether the store is well: then what it just failed at is the fault of what was written."""
        from mlflow.exceptions import MlflowException

        if self.probe is None:
            return False
        try:
            self.probe()
        except (MlflowException, OSError):
            return False
        return True


def _is_lost_connection(cause: BaseException | None) -> bool:
    """Whether a database's connection ended under MLflow, which says of some of these that the caller was wrong."""
    from sqlalchemy.exc import DBAPIError, InterfaceError

    return isinstance(cause, InterfaceError) or (
        isinstance(cause, DBAPIError) and cause.connection_invalidated
    )
