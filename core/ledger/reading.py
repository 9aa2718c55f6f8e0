"""Finding rows: by id, prefix, request id, key, state, flow run or tag; histories, strays, uploads."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import CompoundSelect, Connection, Select, bindparam, or_, select

from prefect_ltx.ledger import schema
from prefect_ltx.ledger.errors import GenerationNotFound
from prefect_ltx.ledger.life.states import UNFINISHED, WITHOUT_REQUEST, State
from prefect_ltx.ledger.records import DoubleCharge, Generation, LedgerEvent, Stray, StrayKind
from prefect_ltx.ledger.rows import event_of, generation_of, stray_of

_table = schema.generation
_SHORTEST_PREFIX = 4


def get(connection: Connection, name: str) -> Generation:
    """The row whose id, request id or unique id prefix is `name`. Of rows that share a request the live one.

    Raises:
        GenerationNotFound: none, or several.
    """
    found = (
        connection.execute(_BY_ID, {"name": name}).all()
        or connection.execute(_BY_REQUEST, {"name": name}).all()
    )
    if not found and len(name) >= _SHORTEST_PREFIX:
        prefix = or_(
            _table.c.id.startswith(name, autoescape=True),
            _table.c.request_id.startswith(name, autoescape=True),
        )
        found = connection.execute(_newest(select(_table).where(prefix), live_first=True).limit(2)).all()
    if len(found) == 1:
        return generation_of(found[0])
    how_many = "more than one generation" if found else "no generation"
    raise GenerationNotFound(
        f"The ledger has {how_many} called {name!r}", next_step="`prefect-ltx ledger list` shows the ids"
    )


def find(
    connection: Connection,
    *,
    key: str | None = None,
    keys: Collection[str] | None = None,
    live: bool | None = None,
    states: Iterable[State] | None = None,
    flow_run_id: str | None = None,
    request_id: str | None = None,
    nonce: str | None = None,
    tag: str | None = None,
    limit: int | None = None,
    oldest_first: bool = False,
) -> list[Generation]:
    """Rows that meet all conditions."""
    asked: dict[str, Any] = {
        "key": key,
        "flow_run_id": flow_run_id,
        "request_id": request_id,
        "nonce": nonce,
        "live": None if live is None else int(live),
        "keys": None if keys is None else list(keys),
        "states": None if states is None else [State(state).value for state in states],
        "tag": tag,
        "most": limit,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    return [generation_of(row) for row in connection.execute(_query(frozenset(asked), oldest_first), asked)]


@lru_cache(maxsize=256)
def _query(names: frozenset[str], oldest_first: bool) -> Select[Any]:
    """The query with these conditions, built once: building a statement costs more than running it."""
    query = select(_table)
    for column in (
        _table.c.key,
        _table.c.flow_run_id,
        _table.c.request_id,
        _table.c.nonce,
        _table.c.live,
    ):
        if column.name in names:
            query = query.where(column == bindparam(column.name))
    if "keys" in names:
        query = query.where(_table.c.key.in_(bindparam("keys", expanding=True)))
    if "states" in names:
        query = query.where(_table.c.state.in_(bindparam("states", expanding=True)))
    if "tag" in names:
        query = query.join(schema.tag).where(schema.tag.c.tag == bindparam("tag"))
    query = query.order_by(_table.c.created_at, _table.c.id) if oldest_first else _newest(query)
    return query.limit(bindparam("most")) if "most" in names else query


def unfinished(connection: Connection) -> list[Generation]:
    """Live rows on which something is left to do, the oldest first."""
    return find(connection, states=UNFINISHED, oldest_first=True)


def events(connection: Connection, generation_id: str) -> list[LedgerEvent]:
    """The row's history, the oldest first."""
    return [event_of(row) for row in connection.execute(_EVENTS, {"wanted": generation_id})]


def claimed_request_ids(connection: Connection, endpoint: str | None) -> frozenset[str]:
    """Every request id that a row, closed ones included, or a stray already has."""
    known = connection.scalars(_claimed(endpoint is not None), {"endpoint": endpoint} if endpoint else {})
    return frozenset(known)


@lru_cache(maxsize=2)
def _claimed(of_endpoint: bool) -> CompoundSelect[Any]:
    rows = select(_table.c.request_id).where(_table.c.request_id.is_not(None))
    strays = select(schema.stray.c.request_id)
    if of_endpoint:
        rows = rows.where(_table.c.endpoint == bindparam("endpoint"))
        strays = strays.where(schema.stray.c.endpoint == bindparam("endpoint"))
    return rows.union(strays)


def with_request(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of these ids whose row fal has accepted, whatever became of it."""
    known = select(_table.c.id).where(_table.c.id.in_(ids), _table.c.state.not_in(WITHOUT_REQUEST))
    return set(connection.scalars(known))


def knows_any(connection: Connection, beginnings: Collection[str]) -> bool:
    """Whether a row's id begins with one of these."""
    if not beginnings:
        return False
    same = or_(*(_table.c.id.startswith(each, autoescape=True) for each in beginnings))
    return connection.scalar(select(_table.c.id).where(same).limit(1)) is not None


def is_claimed(connection: Connection, request_id: str) -> bool:
    """Whether a row or a stray has this request."""
    rows = select(_table.c.id).where(_table.c.request_id == request_id).limit(1)
    kept = select(schema.stray.c.key).where(schema.stray.c.request_id == request_id).limit(1)
    return connection.scalar(rows) is not None or connection.scalar(kept) is not None


def strays(
    connection: Connection,
    *,
    key: str | None = None,
    kind: StrayKind | None = None,
    adopted: bool | None = None,
) -> list[Stray]:
    """Requests kept beside the rows, the oldest first."""
    asked = {name: value for name, value in (("key", key), ("kind", kind)) if value is not None}
    return [stray_of(row) for row in connection.execute(_strays(frozenset(asked), adopted), asked)]


@lru_cache(maxsize=12)
def _strays(names: frozenset[str], adopted: bool | None) -> Select[Any]:
    table = schema.stray
    query = select(table).order_by(table.c.noticed_at, table.c.request_id)
    for column in (table.c.key, table.c.kind):
        if column.name in names:
            query = query.where(column == bindparam(column.name))
    if adopted is not None:
        query = query.where(table.c.adopted_by.is_not(None) if adopted else table.c.adopted_by.is_(None))
    return query


def double_charges(connection: Connection) -> list[DoubleCharge]:
    """Rows with further requests beside their own, the oldest first. What a row adopted does not count."""
    extra: dict[str, list[str]] = {}
    for each in strays(connection, kind="double_charge", adopted=False):
        extra.setdefault(each.generation_id, []).append(each.request_id)
    if not extra:
        return []
    rows = connection.execute(
        select(_table).where(_table.c.id.in_(extra)).order_by(_table.c.created_at)
    ).all()
    return [DoubleCharge(row.id, row.key, row.endpoint, row.request_id, tuple(extra[row.id])) for row in rows]


def find_upload(connection: Connection, account: str, sha256: str, until: float) -> str | None:
    """The URL of an earlier upload of these bytes that is still there at `until`."""
    table = schema.upload
    return connection.scalar(
        select(table.c.url).where(
            table.c.account == account,
            table.c.sha256 == sha256,
            or_(table.c.expires_at.is_(None), table.c.expires_at > until),
        )
    )


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """Where bytes were uploaded, and how many seconds ago."""

    url: str
    age: float


def stored_upload(connection: Connection, account: str, sha256: str, now: float) -> StoredUpload | None:
    """The upload of these bytes that is remembered and should still be there."""
    asked = {"of_account": account, "bytes": sha256, "until": now}
    row = connection.execute(_STORED, asked).one_or_none()
    return None if row is None else StoredUpload(row.url, max(0.0, now - row.saved_at))


def forget_uploads(
    connection: Connection, account: str, sha256: Collection[str], url: str | None = None
) -> None:
    """Forget where these bytes were uploaded; with `url` only if it is still the place."""
    table = schema.upload
    gone = table.delete().where(table.c.account == account, table.c.sha256.in_(sha256))
    connection.execute(gone if url is None else gone.where(table.c.url == url))


def save_upload(connection: Connection, values: dict[str, Any]) -> None:
    """Remember an upload; a later one of the same bytes takes its place."""
    table = schema.upload
    same = (table.c.account == values["account"], table.c.sha256 == values["sha256"])
    connection.execute(table.delete().where(*same))
    connection.execute(table.insert().values(**values))


def _newest(query: Select[Any], *, live_first: bool = False) -> Select[Any]:
    first = [_table.c.live.desc()] if live_first else []
    return query.order_by(*first, _table.c.created_at.desc(), _table.c.id)


# Built once: building a statement costs more than running it.
_BY_ID: Final = select(_table).where(_table.c.id == bindparam("name"))
_BY_REQUEST: Final = _newest(
    select(_table).where(_table.c.request_id == bindparam("name")), live_first=True
).limit(1)
_STORED: Final = select(schema.upload.c.url, schema.upload.c.saved_at).where(
    schema.upload.c.account == bindparam("of_account"),
    schema.upload.c.sha256 == bindparam("bytes"),
    or_(schema.upload.c.expires_at.is_(None), schema.upload.c.expires_at > bindparam("until")),
)
_EVENTS: Final = (
    select(schema.event)
    .where(schema.event.c.generation_id == bindparam("wanted"))
    .order_by(schema.event.c.id)
)
