"""What a process has of its machine: clocks, a pause, and chance. Handed in, so that a test can put others there.

In asynchronous code the monotonic clock, and where blocking work is done, are the running loop's (`loop.time()`,
`asyncio.to_thread`); what is here is what a loop does not have.
"""

import base64
import sys
import time as clocks
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Final


def seconds_awake() -> float:
    """Seconds of a clock that nobody sets, and that counts through sleep."""
    # time.monotonic() stands still while a Linux machine sleeps, so an exchange would look shorter than it was.
    if hasattr(clocks, "CLOCK_BOOTTIME"):
        return clocks.clock_gettime(clocks.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return clocks.clock_gettime(clocks.CLOCK_MONOTONIC)
    return clocks.monotonic()


@dataclass(frozen=True, eq=False)
class Runtime:
    """The machine as one process sees it."""

    time: Callable[[], float] = clocks.time
    """The time of day: Unix seconds, as right as somebody set it."""
    awake: Callable[[], float] = seconds_awake
    """Seconds since some moment, by a clock that nobody sets."""
    sleep: Callable[[float], None] = clocks.sleep
    """Let seconds pass in a thread that may block."""
    random: Random = field(default_factory=SystemRandom)
    """Where ids, nonces, seeds and the jitter of pauses come from."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def uuid(self) -> str:
        """A random UUID (version 4)."""
        return str(uuid.UUID(bytes=self.random.randbytes(16), version=4))

    def token_hex(self, size: int) -> str:
        """As many random bytes, as hex digits."""
        return self.random.randbytes(size).hex()

    def token_urlsafe(self, size: int) -> str:
        """As many random bytes, in letters that a URL may hold."""
        return base64.urlsafe_b64encode(self.random.randbytes(size)).rstrip(b"=").decode()


THIS_MACHINE: Final = Runtime()
"""The real one."""
