"""A log that strangers cannot fill: a few lines of each kind in ten seconds, and how many were left out."""

import asyncio
import logging
from typing import Final

from prefect_ltx.fal import plain

SECONDS: Final = 10.0
MOST_LINES: Final = 5
"""Lines of one kind in `SECONDS`."""
_MOST_KINDS: Final = 100
_LONGEST: Final = 200


class SparingLog:
    """Writes to a logger, in an event loop and by its clock; every value is one short line without secrets."""

    def __init__(self, logger: logging.Logger) -> None:
        """`logger` is where the lines go."""
        self._target = logger
        self._kinds: dict[str, _Kind] = {}
        self.logger = logger.getChild("connections")
        """For code that is not ours and logs by itself: the same limits, by the text of its format."""
        self.logger.filters = [self._allows_record]

    def warning(self, kind: str, text: str, *values: object, most: int = MOST_LINES) -> None:
        """Log a warning, if not `most` of its `kind` were logged within the last ten seconds.

        `kind` must not come from outside as it is: beyond a hundred kinds all others are one.
        """
        allowed, left_out = self._allows(kind, most)
        if allowed:
            shown = [value if isinstance(value, int) else plain(value, _LONGEST) for value in values]
            more = f" ({left_out} more of these were not logged)" if left_out else ""
            self._target.warning(text + more, *shown)

    def _allows(self, kind: str, most: int) -> tuple[bool, int]:
        now = asyncio.get_running_loop().time()
        if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            kind = "others"
        found = self._kinds.setdefault(kind, _Kind(now))
        left_out = 0
        if now - found.began >= SECONDS:
            left_out = found.left_out
            found.began, found.lines, found.left_out = now, 0, 0
        if found.lines >= most:
            found.left_out += 1
            return False, 0
        found.lines += 1
        return True, left_out

    def _allows_record(self, record: logging.LogRecord) -> bool:
        return self._allows(str(record.msg)[:_LONGEST], MOST_LINES)[0]


class _Kind:
    def __init__(self, began: float) -> None:
        self.began, self.lines, self.left_out = began, 0, 0
