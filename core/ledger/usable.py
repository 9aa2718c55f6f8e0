"""What a usable clip costs: attempts, what became of them and why, and the money for those that can be used.

A clip can be used where a person chose it. Where nobody chose or rejected it, one of its request's takes may have been
chosen instead; else the machine's word counts, and a clip against which nothing speaks can be used. What is not
decided yet (under way, or parked) is counted apart: no price rests on it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, Select, select

from prefect_ltx.fal import nano_to_usd
from prefect_ltx.ledger import schema, verdicts
from prefect_ltx.ledger.life.states import State
from prefect_ltx.ledger.spend import Period
from prefect_ltx.ledger.verdicts import Verdict

UsableGrouping = Literal["all", "day", "tag", "batch", "film", "storyboard", "prompt", "endpoint"]
Fate = Literal["usable", "rejected", "passed over", "lost", "failed", "cancelled", "given up", "open"]

USABLE_GROUPINGS: Final[tuple[UsableGrouping, ...]] = (
    "all",
    "day",
    "tag",
    "batch",
    "film",
    "storyboard",
    "prompt",
    "endpoint",
)
TAGGED: Final = ("batch", "film", "storyboard")
"""Groups that are tags of the form `film:TITLE`."""
_ENDS: Final[Mapping[State, Fate]] = {
    State.LOST: "lost",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.WRITTEN_OFF: "given up",
}
_KIND: Final = re.compile(r"(?:^|; )([a-z][a-z0-9_]*): ")
_WHY: Final = 80

_table = schema.generation


class Judged(NamedTuple):
    """What became of one attempt, why it cannot be used, and what was said of it."""

    fate: Fate
    why: str
    word: Verdict | None


@dataclass(slots=True)
class Usable:
    """The attempts of one group. Amounts are exact sums of nano-dollars, in USD; billed where fal said so."""

    name: str
    attempts: int = 0
    """Generations that may have run: those that were released never did."""
    fates: Counter[Fate] = field(default_factory=Counter)
    chosen: int = 0
    """Of the usable ones, those that a person or a judge chose."""
    why: Counter[str] = field(default_factory=Counter)
    """Why the others cannot be used."""
    estimated: int = 0
    """Attempts whose bill is not known yet: they count at what is held for them."""
    usable_nano: int = 0
    unusable_nano: int = 0
    open_nano: int = 0
    seconds: Fraction = Fraction(0)
    """Length of the usable clips."""

    @property
    def usable(self) -> int:
        """Clips that can be used."""
        return self.fates["usable"]

    @property
    def open(self) -> int:
        """Attempts that are under way or parked."""
        return self.fates["open"]

    @property
    def usable_usd(self) -> Decimal:
        """Money for clips that can be used."""
        return nano_to_usd(self.usable_nano)

    @property
    def unusable_usd(self) -> Decimal:
        """Money for attempts that came to nothing, or to a clip that cannot be used."""
        return nano_to_usd(self.unusable_nano)

    @property
    def open_usd(self) -> Decimal:
        """Money held for what is not decided yet."""
        return nano_to_usd(self.open_nano)

    @property
    def rate(self) -> Decimal | None:
        """Usable clips among the decided attempts, from 0 to 1."""
        decided = self.attempts - self.open
        return Decimal(self.usable) / decided if decided else None

    @property
    def usd_per_clip(self) -> Decimal | None:
        """All money of decided attempts by usable clips."""
        return (self.usable_usd + self.unusable_usd) / self.usable if self.usable else None

    @property
    def usd_per_second(self) -> Decimal | None:
        """All money of decided attempts by seconds of usable clips."""
        if not self.seconds:
            return None
        price = Fraction(self.usable_nano + self.unusable_nano, 10**9) / self.seconds
        return Decimal(price.numerator) / Decimal(price.denominator)

    def add(self, judged: Judged, nano: int, *, settled: bool, seconds: Fraction) -> None:
        """Count one attempt."""
        fate = judged.fate
        self.attempts += 1
        self.fates[fate] += 1
        self.estimated += not settled
        self.chosen += fate == "usable" and judged.word is not None and judged.word.word == "chosen"
        if fate == "usable":
            self.usable_nano += nano
            self.seconds += seconds
        elif fate == "open":
            self.open_nano += nano
        else:
            self.unusable_nano += nano
            self.why[judged.why] += 1


def usable(
    connection: Connection,
    by: UsableGrouping = "all",
    period: Period = Period(),  # noqa: B008 - frozen
    tag: str | None = None,
) -> list[Usable]:
    """The groups, by name; one called "all" without a grouping. A row counts for each of its tags.

    A row belongs to the period in which it was intended, as its money does. With `tag` only rows that have it.
    """
    columns = [_table.c[name] for name in _COLUMNS] + ([_table.c.body] if by == "prompt" else [])
    query = select(*columns).where(period.of(_table.c.created_at), _table.c.state != State.RELEASED.value)
    if tag is not None:
        mine = select(schema.tag.c.generation_id).where(schema.tag.c.tag == tag)
        query = query.where(_table.c.id.in_(mine))
    groups: dict[str, Usable] = {}
    for row, judged in _judged(connection, query):
        for name in _names(by, row):
            groups.setdefault(name, Usable(name)).add(
                judged,
                row.held_nano,
                settled=row.settled_nano is not None,
                seconds=_seconds(row.asked, row.facts),
            )
    if by == "all" and not groups:
        return [Usable("all")]
    return [groups[name] for name in sorted(groups)]


def judged_rows(connection: Connection) -> dict[str, Judged]:
    """What became of every attempt, by generation."""
    query = select(_table.c.id, _table.c.seedless_key, _table.c.state).where(
        _table.c.state != State.RELEASED.value
    )
    return {row.id: judged for row, judged in _judged(connection, query)}


def _judged(connection: Connection, query: Select[Any]) -> Iterator[tuple[Any, Judged]]:
    words = verdicts.current(connection)
    requests = _chosen_requests(connection, words)
    for row in connection.execute(query):
        word = words.get(row.id)
        fate, why = _fate(State(row.state), word, row.seedless_key, requests)
        yield row, Judged(fate, why, word)


_COLUMNS: Final = (
    "id",
    "seedless_key",
    "state",
    "held_nano",
    "settled_nano",
    "created_day",
    "endpoint",
    "tags",
    "asked",
    "facts",
)


def _fate(
    state: State, word: Verdict | None, request: str, chosen: Mapping[str, set[str]]
) -> tuple[Fate, str]:
    """What became of an attempt, and why it cannot be used."""
    if state is not State.ARCHIVED:
        fate = _ENDS.get(state, "open")
        return fate, fate
    if word is not None and (word.source == "person" or word.word == "rejected"):
        return _of_word(word)
    if request in chosen["person"] or (word is None and request in chosen["machine"]):
        return "passed over", "another take was chosen"
    return "usable", ""


def _of_word(word: Verdict) -> tuple[Fate, str]:
    if word.word == "chosen":
        return "usable", ""
    kinds = ", ".join(dict.fromkeys(_KIND.findall(word.reason)))
    said = kinds or " ".join(word.reason.split())[:_WHY]
    return "rejected", f"{word.source}: {said}" if said else f"by a {word.source}"


def _chosen_requests(connection: Connection, words: Mapping[str, Verdict]) -> dict[str, set[str]]:
    """By source: the requests of which a take is chosen, wherever in time."""
    picked = {name: word for name, word in words.items() if word.word == "chosen"}
    found: dict[str, set[str]] = {"person": set(), "machine": set()}
    ids = sorted(picked)
    for first in range(0, len(ids), 500):
        some = ids[first : first + 500]
        query = select(_table.c.id, _table.c.seedless_key).where(
            _table.c.id.in_(some), _table.c.state == State.ARCHIVED.value
        )
        for row in connection.execute(query):
            found[picked[row.id].source].add(row.seedless_key)
    return found


def _names(by: UsableGrouping, row: Any) -> Iterator[str]:
    match by:
        case "all":
            yield "all"
        case "day":
            yield row.created_day
        case "endpoint":
            yield row.endpoint
        case "prompt":
            yield str((row.body or {}).get("prompt", ""))
        case "tag":
            yield from dict.fromkeys(row.tags)
        case _:
            yield from _tagged(by, row.tags)


def _tagged(kind: str, tags: Iterable[str]) -> Iterator[str]:
    for tag in dict.fromkeys(tags):
        if tag.startswith(f"{kind}:"):
            yield tag.partition(":")[2]


def _seconds(asked: Mapping[str, Any], facts: Mapping[str, Any]) -> Fraction:
    """How long the delivered clip is, exactly: frames by frames per second; as asked for where that is not known."""
    frames = facts.get("num_frames") or asked.get("num_frames")
    rate = facts.get("fps") or asked.get("frames_per_second")
    try:
        return Fraction(str(frames)) / Fraction(str(rate))
    except (ValueError, ZeroDivisionError):
        return Fraction(0)
