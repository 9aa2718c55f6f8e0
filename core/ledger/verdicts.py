"""Whether a clip can be used: what quality control, a judge or a person said of it, as facts of their own.

Everything that was said stays. What counts is what a person said last, and where nobody did, what the machine said
last; it changes no state and no money.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, select

from prefect_ltx.fal import plain
from prefect_ltx.ledger import schema
from prefect_ltx.ledger.recording import Transaction
from prefect_ltx.ledger.rows import moment, storable

Word = Literal["chosen", "rejected"]
Source = Literal["person", "machine"]

_verdicts = schema.verdict
_MOST_KEYS = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of one archived video, by whom, why and when."""

    generation_id: str
    word: Word
    source: Source
    by: str
    """Who: a person's name, or what judged."""
    reason: str
    said_at: datetime

    def __str__(self) -> str:
        """It in one line, for a person."""
        return f"{self.word} by {self.by}{f': {self.reason}' if self.reason else ''}"


def note(
    tx: Transaction,
    generation_id: str,
    word: Word,
    *,
    source: Source,
    by: str,
    reason: str = "",
    said_at: float | None = None,
) -> bool:
    """Write down what was said; False where the same was said before.

    What is said to be of the future is of now, or nobody could take it back.

    Raises:
        GenerationNotFound: there is no such row.
    """
    row = tx.load(generation_id)
    values = {
        "generation_id": row.id,
        "word": word,
        "source": source,
        "by": storable(plain(by, 200)) or "-",
        "reason": storable(plain(reason, 500)),
    }
    at = tx.now if said_at is None else min(said_at, tx.now)
    said = [each for each in find(tx.connection, [row.id]) if each.source == source]
    mine = [
        each for each in said if (each.word, each.by, each.reason) == (word, values["by"], values["reason"])
    ]
    if said[-1:] == mine[-1:] != [] or any(abs(each.said_at.timestamp() - at) < 0.001 for each in mine):
        return False  # said again, or an older file that is read once more
    tx.connection.execute(
        _verdicts.insert().values(id=tx.runtime.uuid(), said_at=at, noted_at=tx.now, **values)
    )
    tx.log(row, "Judged", values["by"], word=word, source=source, reason=values["reason"])
    return True


def find(connection: Connection, ids: Collection[str] | None = None) -> list[Verdict]:
    """Everything that was said, the oldest first; of these generations, or of all."""
    query = select(_verdicts).order_by(_verdicts.c.said_at, _verdicts.c.noted_at, _verdicts.c.id)
    if ids is None:
        return _read(connection, query)
    wanted = sorted(set(ids))
    found: list[Verdict] = []
    for first in range(0, len(wanted), _MOST_KEYS):
        some = wanted[first : first + _MOST_KEYS]
        found += _read(connection, query.where(_verdicts.c.generation_id.in_(some)))
    return found


def current(connection: Connection, ids: Collection[str] | None = None) -> dict[str, Verdict]:
    """What counts, by generation: a person's last word, else the machine's."""
    counts: dict[str, Verdict] = {}
    for each in find(connection, ids):  # the oldest first, so that the last word stays
        before = counts.get(each.generation_id)
        if before is None or each.source == "person" or before.source == "machine":
            counts[each.generation_id] = each
    return counts


def _read(connection: Connection, query: Select[Any]) -> list[Verdict]:
    return [_verdict_of(row) for row in connection.execute(query)]


def _verdict_of(row: Row[Any]) -> Verdict:
    values: Mapping[Any, Any] = row._mapping
    return Verdict(
        generation_id=values["generation_id"],
        word=values["word"],
        source=values["source"],
        by=values["by"],
        reason=values["reason"],
        said_at=moment(values["said_at"]),
    )
