"""When a free call is made again, and after how long. Pure.

Only calls that can cost nothing come here: reads, and the upload of a part. The submit never does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from prefect_ltx.fal.errors import FalError, FalGateway, FalProtocolError, FalRateLimited, FalUnavailable
from prefect_ltx.fal.reply import Reply
from prefect_ltx.runtime import THIS_MACHINE

_uniform = THIS_MACHINE.random.uniform


@dataclass(frozen=True)
class RetryRule:
    """At most `attempts` calls; waits grow from `base` seconds by doubling, up to `cap`, with full jitter."""

    attempts: int = 4
    base: float = 0.5
    cap: float = 10.0
    patience: float = 60.0
    """The longest `Retry-After` that is waited for; where fal asks for more, the caller decides."""

    def wait(
        self,
        attempt: int,
        error: FalError,
        reply: Reply | None,
        *,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> float | None:
        """Seconds to wait before the next call, or None to give up. `attempt` counts from 1.

        A connection error, 408, 409, 425, 429, a 5xx, an unreadable 2xx and whatever fal did not write are worth
        another call, and so is what fal marks `X-Fal-Needs-Retry`. Nothing is that fal marks `X-Fal-Retryable:
        false`, or that a start timeout ended (`X-Fal-Request-Timeout-Type`; fal-protocol §3.2).
        """
        if not _worth_it(error, reply):
            return None
        return self.pause(attempt, reply.retry_after if reply else None, uniform=uniform)

    def pause(
        self,
        attempt: int,
        asked: float | None = None,
        *,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> float | None:
        """Seconds to wait after attempt `attempt`, no less than the server `asked`; None to give up."""
        if attempt >= self.attempts or (asked or 0.0) > self.patience:
            return None
        ceiling = self.cap if attempt > 30 else min(self.cap, math.ldexp(self.base, attempt - 1))
        return max(asked or 0.0, uniform(0.0, ceiling))


def _worth_it(error: FalError, reply: Reply | None) -> bool:
    if reply is None:
        return isinstance(error, FalUnavailable)
    if reply.retryable is False or "x-fal-request-timeout-type" in reply.headers:
        return False
    if reply.needs_retry or isinstance(error, FalRateLimited | FalGateway):
        return True
    if isinstance(error, FalUnavailable):
        return reply.status >= 500 or reply.status in (408, 409, 425)
    return isinstance(error, FalProtocolError) and reply.ok
