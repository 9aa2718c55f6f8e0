"""fal's error bodies (fal-protocol §5): what the app says, what the platform says, what the Platform API
says."""

from collections.abc import Mapping
from typing import Any, Final

_DOCS: Final = "https://docs.fal.ai/errors/#"

_PLATFORM_STATUS: Final[Mapping[str, int]] = {
    "request_timeout": 504,
    "startup_timeout": 504,
    "client_disconnected": 499,
    "client_cancelled": 499,
    "bad_request": 400,
    "internal_error": 500,
    "concurrent_requests_limit": 429,
}

_API_STATUS: Final[Mapping[str, int]] = {
    "validation_error": 400,
    "authorization_error": 401,
    "not_found": 404,
    "rate_limited": 429,
    "server_error": 500,
}


class Refusal(Exception):
    """Ends the handling of a request with this reply."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """The reply's status, JSON body and headers."""
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


class ModelError(Refusal):
    """The model's own error, found after the queue: `{"detail": [{loc, msg, type, url, …}]}` (§5.1)."""

    def __init__(self, status: int, problems: list[dict[str, Any]], *, retryable: bool = False) -> None:
        """`problems` are made by `problem`."""
        super().__init__(status, {"detail": problems}, {"x-fal-retryable": str(retryable).lower()})
        self.message = str(problems[0]["msg"]) if problems else "unknown"


class PlatformError(Refusal):
    """fal's platform rather than the model: `{"detail": text, "error_type": type}` (§5.2)."""

    def __init__(
        self,
        error_type: str,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The status follows from the type unless given."""
        status = _PLATFORM_STATUS[error_type] if status is None else status
        super().__init__(
            status,
            {"detail": detail, "error_type": error_type},
            {"x-fal-error-type": error_type, **(headers or {})},
        )
        self.error_type = error_type
        self.detail = detail


class ApiError(Refusal):
    """The Platform API's own shape: `{"error": {"type", "message"}}` (§7)."""

    def __init__(self, error_type: str, message: str, *, status: int | None = None) -> None:
        """The status follows from the type unless given."""
        super().__init__(
            _API_STATUS[error_type] if status is None else status,
            {"error": {"type": error_type, "message": message}},
        )


def problem(
    loc: tuple[str | int, ...],
    message: str,
    error_type: str,
    *,
    given: Any = None,
    context: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One entry of a model error's `detail`."""
    entry: dict[str, Any] = {
        "loc": ["body", *loc],
        "msg": message,
        "type": error_type,
        "url": f"{_DOCS}{error_type}",
    }
    if context:
        entry["ctx"] = dict(context)
    entry["input"] = _shortened(given)
    return entry


def _shortened(value: Any) -> Any:
    # fal echoes the input; a data URI would make an error of megabytes.
    if isinstance(value, str) and len(value) > 200:
        return value[:200] + "…"
    return value
