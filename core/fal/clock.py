"""fal's clock, known only through what fal answers: when was a question asked, and what time is it there?

Only fal's clock says when something happened at fal; this machine's may be minutes off. An answer's `Date`
header (RFC 9110 §6.6.1) is the time at which it was written, to the second. Together with the time that the
exchange took it bounds the moment *before* the question, and evidence is no younger than that.

All moments are Unix seconds. Nothing here asks fal anything.
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple, Self

from prefect_ltx.runtime import THIS_MACHINE, Runtime

DATE_LATE: Final = 2.0
"""A `Date` is cut to the second, and servers such as uvicorn and nginx renew it once a second."""

_DRIFT: Final = 1e-4
"""Two clocks that run freely differ by well under 100 parts per million."""
_YEARS: Final = (946_684_800.0, 32_503_680_000.0)  # 2000 to 3000: anything else is not a time of day


class Moment(NamedTuple):
    """When something was, by fal's clock: at `earliest` or later, at `latest` or earlier (Unix seconds)."""

    earliest: float
    latest: float


@dataclass(frozen=True)
class Heard:
    """Who answered a question, and when it was asked.

    `by`: fal itself, in a shape of its own; something between here and fal (a gateway, a proxy, a login page);
    or nobody. `asked_at`: the moment before the question, None where the answer has no readable `Date`.
    """

    by: Literal["fal", "between", "nobody"]
    asked_at: Moment | None = None


class Stopwatch(NamedTuple):
    """One reading of this machine's clocks: `awake` counts through sleep, `wall` is the time of day."""

    awake: float
    wall: float

    @classmethod
    def read(cls, runtime: Runtime = THIS_MACHINE) -> Self:
        """Now."""
        return cls(runtime.awake(), runtime.time())

    def until(self, later: "Stopwatch") -> tuple[float, float]:
        """The fewest and the most seconds that can have passed: where the two clocks differ, one was wrong."""
        spans = (max(later.awake - self.awake, 0.0), later.wall - self.wall)
        return min(spans), max(spans)


def asked_at(date: str | None, age: str | None, asked: Stopwatch, answered: Stopwatch) -> Moment | None:
    """The moment before a question by fal's clock; None without a readable `Date`.

    `date` and `age` are headers of the answer, `asked` was read before the question left, `answered` after the
    head of the answer came. `Age` (RFC 9111 §5.1) is how long a cache has kept the answer.
    """
    written = _date(date)
    if written is None:
        return None
    _, most = asked.until(answered)
    kept = _whole_seconds(age)
    # It was written between the question and its arrival here; a kept one says what was true when it was written.
    return Moment(written - most, written + DATE_LATE + kept)


class FalClock:
    """What one client knows of fal's clock. Not for several threads at once, like the client."""

    def __init__(self, runtime: Runtime = THIS_MACHINE) -> None:
        """Nothing is known yet."""
        self._runtime = runtime
        self._known: tuple[Stopwatch, Moment] | None = None

    def hear(self, asked: Moment | None, began: Stopwatch, at: Stopwatch) -> None:
        """Learn from one answer of fal's: it was asked at `asked` when this machine's clocks stood at `began`,
        and now they stand at `at`.

        The narrowest bounds are kept; newer ones that contradict them replace them.
        """
        if asked is None:
            return
        new = _later(asked, began, at)
        known = self._known and _later(self._known[1], self._known[0], at)
        narrower = known is None or _width(new) <= _width(known)
        apart = known is not None and (new.earliest > known.latest or new.latest < known.earliest)
        if narrower or apart:
            self._known = (at, new)

    def now(self) -> Moment | None:
        """The time by fal's clock; None while nothing with a `Date` was heard from fal."""
        return _later(self._known[1], self._known[0], Stopwatch.read(self._runtime)) if self._known else None

    def skew(self) -> float | None:
        """Seconds by which fal's clock is ahead of this machine's wall clock; None while unknown."""
        now, wall = self.now(), self._runtime.time()
        return None if now is None else (now.earliest + now.latest) / 2 - wall


def _later(moment: Moment, since: Stopwatch, at: Stopwatch) -> Moment:
    least, most = since.until(at)
    return Moment(moment.earliest + least * (1 - _DRIFT), moment.latest + most * (1 + _DRIFT))


def _width(moment: Moment) -> float:
    return moment.latest - moment.earliest


def _date(text: str | None) -> float | None:
    try:
        when = parsedate_to_datetime(text or "")
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return seconds if _YEARS[0] <= seconds < _YEARS[1] else None


def _whole_seconds(text: str | None) -> int:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
