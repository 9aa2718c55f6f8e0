"""Rows that are made again from what an archive says, in one open transaction.

A restored row is ARCHIVED: its video is in the archive and its key is never paid for again. What the archive
cannot say (the reservation, the way there) is not made up: the price that was billed is held, else the expected
one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from sqlalchemy import Connection, select

from prefect_ltx.fal import usd_to_nano
from prefect_ltx.ledger import schema, verdicts
from prefect_ltx.ledger.life.budget import held_nano
from prefect_ltx.ledger.life.states import CLOSED, State
from prefect_ltx.ledger.recording import Transaction
from prefect_ltx.ledger.records import Generation, Plan
from prefect_ltx.ledger.rows import generation_of, new_row

Restored = Literal["known", "restored", "closed", "second", "busy"]
"""`known`: the row is there and archived. `restored`: a new row. `closed`: a row that was there and now is archived.
`second`: the key has another archived video; this one's money counts, in a closed row. `busy`: the key's row is being
worked on, and closes itself.
"""

EVENT: Final = "Rebuilt"
_table = schema.generation
_JOINED: Final = "archive:"


@dataclass(frozen=True)
class ArchivedVideo:
    """What a manifest says of one generation; prices in USD."""

    id: str
    key: str
    endpoint: str
    account: str
    body: Mapping[str, Any] = field(repr=False)
    asked: Mapping[str, Any] = field(repr=False)
    seed: int
    delivered_seed: int
    request_id: str | None
    prompt_expanded: str | None
    price_expected_usd: Decimal
    price_billed_usd: Decimal | None
    units: Decimal | None
    tags: tuple[str, ...]
    created_at: datetime
    closed_at: datetime
    sha256: str
    size: int
    facts: Mapping[str, Any] = field(repr=False)
    location: str
    folder: str
    manifest_sha256: str
    rejected: str = ""
    """Why its manifest says that it cannot be used; empty where it does not."""


def restore(tx: Transaction, video: ArchivedVideo, actor: str) -> Restored:
    """Make the ledger know one archived video.

    Raises:
        PlanInvalid: its values are not those of a generation.
    """
    row = _row(tx, _table.c.id == video.id)
    if row is not None and row.state is State.ARCHIVED:
        return "known"
    live = _row(tx, (_table.c.key == video.key) & (_table.c.live == 1))
    if row is not None and row.state not in CLOSED:
        if tx.is_held(row):
            return "busy"
        _write(tx, row, _values(video, new=False), actor)
        return "closed"
    if row is not None and live is not None:
        return "second"  # its money was counted when it was closed
    if row is not None:
        _write(tx, row, _values(video, new=False), actor)
        return "closed"
    if live is not None and live.state is not State.ARCHIVED:
        return "busy"
    values = _new(video)
    if live is not None:
        values |= {"state": State.WRITTEN_OFF.value, "live": 0, "reason": f"the same video as {live.id}"}
    tx.connection.execute(_table.insert(), values)
    for tag in dict.fromkeys(video.tags):
        tx.connection.execute(schema.tag.insert(), {"generation_id": video.id, "tag": tag})
    _write(tx, tx.load(video.id), {}, actor)
    if video.rejected:
        verdicts.note(tx, video.id, "rejected", source="machine", by="quality control", reason=video.rejected)
    return "restored" if live is None else "second"


def join(tx: Transaction, location: str) -> None:
    """Write down that what the archive at `location` holds has been brought into this ledger."""
    name = _joined(location)
    tx.connection.execute(schema.meta.delete().where(schema.meta.c.name == name))
    value = json.dumps({"location": location, "at": tx.now})
    tx.connection.execute(schema.meta.insert(), {"name": name, "value": value})


def has_joined(connection: Connection, location: str) -> bool:
    """Whether that was done."""
    query = select(schema.meta.c.name).where(schema.meta.c.name == _joined(location))
    return connection.scalar(query) is not None


def _joined(location: str) -> str:
    return _JOINED + hashlib.sha256(location.encode()).hexdigest()[:32]


def _row(tx: Transaction, condition: Any) -> Generation | None:
    row = tx.connection.execute(select(_table).where(condition)).one_or_none()
    return None if row is None else generation_of(row)


def _write(tx: Transaction, row: Generation, values: Mapping[str, Any], actor: str) -> None:
    if values:
        tx.update(row.id, **values)
    tx.log(row, EVENT, actor, from_archive=True)


def _new(video: ArchivedVideo) -> dict[str, Any]:
    plan = Plan(
        key=video.key,
        seedless_key=f"rebuilt:{video.id}",  # nothing is left to adopt
        endpoint=video.endpoint,
        account=video.account,
        body=video.body,
        seed=video.seed,
        seed_drawn=False,
        price_expected_usd=video.price_expected_usd,
        price_upper_usd=video.price_expected_usd,
        tags=video.tags,
        asked=video.asked,
    )
    return new_row(plan, video.created_at.timestamp()) | _values(video, new=True) | {"id": video.id}


def _values(video: ArchivedVideo, *, new: bool) -> dict[str, Any]:
    closed = video.closed_at.timestamp()
    settled = None if video.price_billed_usd is None else usd_to_nano(video.price_billed_usd)
    expected = usd_to_nano(video.price_expected_usd)
    money = {
        "settled_nano": settled,
        # Which of fal's words it was, the manifest does not say: a billing event may still correct it.
        "settled_by": None if settled is None else "billable_units",
        "units": None if video.units is None else str(video.units),
        "held_nano": held_nano(
            State.ARCHIVED, billed=None, expected=expected, upper=expected, settled=settled
        ),
    }
    return {
        **(money if new or settled is not None else {"held_nano": money["held_nano"]}),
        "state": State.ARCHIVED.value,
        "live": 1,
        "owner": None,
        "lease_until": None,
        "request_id": video.request_id,
        "completed_at": closed,
        "collected_at": closed,
        "closed_at": closed,
        "updated_at": closed,
        "delivered_seed": video.delivered_seed,
        "prompt_expanded": video.prompt_expanded,
        "file_size": video.size,
        "video_seen": True,
        "sha256": video.sha256,
        "size": video.size,
        "facts": dict(video.facts),
        "location": video.location,
        "folder": video.folder,
        "manifest_sha256": video.manifest_sha256,
    }
