"""What Google's clients raise when nothing is wrong but the way to Google, or Google for a moment."""

from __future__ import annotations

from google.api_core.exceptions import (
    BadGateway,
    GatewayTimeout,
    InternalServerError,
    RetryError,
    ServiceUnavailable,
    TooManyRequests,
)
from google.auth.exceptions import TransportError
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
