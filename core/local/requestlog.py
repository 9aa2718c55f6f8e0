"""What arrived on the wire: (method, path, status) of every request, so that a test can count POSTs."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class LogEntry:
    """One request; `status` is 0 for as long as no reply was begun, so also after a reset connection."""

    method: str
    path: str
    status: int = 0


class RequestLog:
    """The last `limit` requests, oldest first. Paths are those of the flat layout, without query strings."""

    def __init__(self, limit: int = 50_000) -> None:
        """Keep the last `limit` requests."""
        self._entries: deque[LogEntry] = deque(maxlen=limit)
        self._limit = limit
        self._headers: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def begin(self, method: str, path: str) -> LogEntry:
        """Note a request when it arrives; the status is filled in when its reply begins."""
        entry = LogEntry(method, path)
        with self._lock:
            self._entries.append(entry)
        return entry

    def submitted(self, request_id: str, headers: Iterable[tuple[str, str]]) -> None:
        """Note what came with an accepted request; the key is not kept."""
        with self._lock:
            self._headers[request_id] = {name: value for name, value in headers if name != "authorization"}
            if len(self._headers) > self._limit:
                del self._headers[next(iter(self._headers))]

    def headers_of(self, request_id: str) -> dict[str, str]:
        """The headers, in lower case, with which a request was sent since the server started; {} for others."""
        with self._lock:
            return dict(self._headers.get(request_id, {}))

    def entries(self) -> list[tuple[str, str, int]]:
        """A copy of the log as plain tuples."""
        with self._lock:
            return [(entry.method, entry.path, entry.status) for entry in self._entries]

    def clear(self) -> None:
        """Forget everything so far."""
        with self._lock:
            self._entries.clear()
