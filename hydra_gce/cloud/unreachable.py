"""What Google's clients raise when nothing is wrong but the way to Google, or Google for a moment.

``EXPIRED`` are not among these: asking again does not help before somebody has logged in anew.
"""

from __future__ import annotations

from google.api_core.exceptions import (
    BadGateway,
    GatewayTimeout,
    InternalServerError,
    RetryError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from google.auth.exceptions import RefreshError, TransportError
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import Timeout

UNREACHABLE = (
    BadGateway,
    GatewayTimeout,
    InternalServerError,
    NoConnection,
    RetryError,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    TransportError,
)
EXPIRED = (RefreshError, Unauthorized)
AWAY = (*UNREACHABLE, *EXPIRED)
"""What a sweep waits out that is under way."""
