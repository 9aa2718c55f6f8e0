"""Who may work on a generation, decided in one open transaction: claim, take over, hand back.

Of any number of claims for one key at once, exactly one may send.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, bindparam, select, true

from prefect_ltx.fal import nano_to_usd, usd_to_nano
from prefect_ltx.ledger import locks, schema, stops, sums
from prefect_ltx.ledger.accounts import check_ours
from prefect_ltx.ledger.errors import AnotherAccount, BudgetExceeded, PostNotPermitted, PriceUnknown
from prefect_ltx.ledger.life.budget import BudgetLimit
from prefect_ltx.ledger.life.events import Found, OwnerLost, PostStarted
from prefect_ltx.ledger.life.machine import todo
from prefect_ltx.ledger.life.states import CLOSED, State
from prefect_ltx.ledger.owner import Owner
from prefect_ltx.ledger.recording import Transaction, adoptable_stray, lease_lost, record
from prefect_ltx.ledger.records import Claim, ClaimOutcome, Generation, Plan
from prefect_ltx.ledger.rows import generation_of, new_row, plan_of

_table = schema.generation
# Built once: building a statement costs more than running it.
_LIVE: Final = select(_table).where(_table.c.key == bindparam("wanted"), _table.c.live == 1)
_BEGUN: Final = select(_table.c.begun_attempt).where(_table.c.id == bindparam("wanted"))
_REFUSED: Final = (
    select(_table)
    .where(
        _table.c.key == bindparam("wanted"),
        _table.c.flow_run_id == bindparam("run"),
        _table.c.refused_for_good.is_(True),
    )
    .order_by(_table.c.created_at.desc())
    .limit(1)
)
_NEW_TAG: Final = schema.tag.insert()
_INTENDED: Final = "Intended"
_CLAIMED: Final = "Claimed"
_ADOPTED: Final = "Adopted"
_LEFT_BEHIND: Final = "LeftBehind"
_WHOSE: Final = (
    select(schema.event.c.event, schema.event.c.actor)
    .where(
        schema.event.c.generation_id == bindparam("wanted"),
        schema.event.c.event.in_([_INTENDED, _CLAIMED, _ADOPTED, _LEFT_BEHIND]),
    )
    .order_by(schema.event.c.id.desc())
    .limit(1)
)
"""The last that a row's history says of the run that wants its video: who that is, or that it gave up."""


def claim(tx: Transaction, plan: Plan, owner: Owner, limits: Sequence[BudgetLimit]) -> Claim:
    """See `Ledger.claim`."""
    if tx.acting is not None and plan.account != tx.acting.account:
        raise AnotherAccount("of this plan", account=plan.account, service="")
    locks.keys(tx.connection, (plan.key, *plan.older_keys))
    row = _live_row(tx, plan)
    if row is not None:
        known = tx.known[row.id] = generation_of(row)  # its key is this transaction's
        taken = take(tx, known, owner)
        if taken.outcome in ("submit", "resume") and row.owner != owner.token:
            tx.log(taken.generation, _CLAIMED, owner.label)
        if taken.outcome in ("submit", "resume") and plan.flow_run_id is not None:
            # Whoever goes on with it is whose cancel counts.
            tx.update(taken.generation.id, flow_run_id=plan.flow_run_id)
            return replace(taken, generation=tx.load(taken.generation.id))
        if taken.outcome != "closed":
            return taken
    strays = (adoptable_stray(tx, key) for key in (plan.key, *plan.older_keys))
    stray = next((each for each in strays if each is not None), None)
    if stray is None:
        if (refused := _refused_in_this_run(tx, plan)) is not None:
            return Claim("refused", refused)
        stops.refuse_while_stopped(tx.connection)
        _check_budgets(tx, plan, limits)
    values = new_row(plan, tx.now, tx.acting.service if tx.acting is not None else "", tx.runtime)
    fresh = tx.insert(values)
    if plan.tags:
        tx.connection.execute(_NEW_TAG, [{"generation_id": fresh.id, "tag": tag} for tag in plan.tags])
    tx.moves.append((fresh.id, fresh.state))
    tx.log(fresh, _INTENDED, owner.label, upper_usd=str(plan.price_upper_usd), tags=list(plan.tags))
    if stray is None:
        return _grant(tx, fresh, owner)
    record(tx, fresh, Found(stray, attempt=fresh.attempt), owner=owner, actor=owner.label)
    return _grant(tx, tx.load(fresh.id), owner)


def _live_row(tx: Transaction, plan: Plan) -> Row[Any] | None:
    """The row that the plan's video has already, under whichever of its keys."""
    for key in (plan.key, *plan.older_keys):
        if (row := tx.connection.execute(_LIVE, {"wanted": key}).one_or_none()) is not None:
            return row
    return None


def take(tx: Transaction, row: Generation, owner: Owner) -> Claim:
    """See `Ledger.take`."""
    check_ours(tx.acting, row)
    if fixed := _FIXED.get(row.state):
        return Claim(fixed, row, todo(row.snapshot))
    if row.state in CLOSED:
        return Claim("closed", row)
    ours = row.owner == owner.token
    if not ours and tx.is_held(row):
        return Claim("busy", row)
    if row.state is State.INTENDED:
        if ours and row.post_may_have_left:
            return Claim("busy", row)  # our own POST may be on its way, from another coroutine
        if not ours and row.owner is not None:
            row = _owner_lost(tx, row, owner.label)
            if row.state in CLOSED:
                return Claim("closed", row)
    return _grant(tx, row, owner)


def adopt_seedless(tx: Transaction, seedless_key: str, owner: Owner) -> Generation | None:
    """See `Ledger.adopt_seedless`."""
    waits_for_person = _table.c.state.in_([State.PARKED.value, State.LOST.value])
    query = (
        select(_table)
        .where(
            _table.c.seedless_key == seedless_key,
            _table.c.seed_drawn.is_(True),
            _table.c.live == 1,
            _table.c.state != State.ARCHIVED.value,
            _table.c.cancel.in_(["none", "too_late"]),
            tx.acting.ours() if tx.acting is not None else true(),
        )
        .order_by(waits_for_person, _table.c.created_at, _table.c.id)
    )
    for row in tx.connection.execute(query).all():
        found = generation_of(row)
        if tx.is_held(found) or not _is_left_behind(tx, found):
            continue
        if found.state is State.INTENDED and found.owner is not None:
            found = _owner_lost(tx, found, owner.label)
        _hold(tx, found, owner)
        tx.log(found, _ADOPTED, owner.label)
        return tx.load(found.id)
    return None


def leave_behind(tx: Transaction, keys: Sequence[str], owner: Owner) -> None:
    """See `Ledger.leave_behind`."""
    locks.keys(tx.connection, keys)
    for key in keys:
        row = tx.connection.execute(_LIVE, {"wanted": key}).one_or_none()
        if row is not None and row.state != State.ARCHIVED.value and row.owner in (None, owner.token):
            tx.log(generation_of(row), _LEFT_BEHIND, owner.label)


def adopt_stray(tx: Transaction, request_id: str, owner: Owner) -> Claim | None:
    """See `Ledger.adopt_stray`."""
    strays = schema.stray
    query = select(strays.c.generation_id).where(
        strays.c.request_id == request_id, strays.c.adopted_by.is_(None)
    )
    origin_id = tx.connection.scalar(query.limit(1))
    if origin_id is None:
        return None
    origin = tx.load_ours(origin_id)
    live = select(_table.c.id).where(_table.c.key == origin.key, _table.c.live == 1)
    if tx.connection.scalar(live) is not None:
        return None
    return claim(tx, plan_of(origin), owner, ())


def begin_post(tx: Transaction, row: Generation, owner: Owner, since: float | None) -> Generation:
    """See `Ledger.begin_post`."""
    check_ours(tx.acting, row)
    if row.cancel_requested or row.state is State.RELEASED:
        raise _not_permitted(row, "it was cancelled" if row.cancel_requested else "it was released")
    if row.owner != owner.token:
        raise lease_lost(row)
    begun = tx.connection.scalar(_BEGUN, {"wanted": row.id})
    if row.state is not State.INTENDED or begun == row.attempt:
        raise _not_permitted(row, "a POST of this attempt may have left already")
    stops.refuse_while_stopped(tx.connection)
    record(tx, row, PostStarted(since, attempt=row.attempt), owner=owner, actor=owner.label)
    _hold(tx, row, owner, log=False)
    return tx.load(row.id)


def expire(tx: Transaction, row: Generation) -> Generation:
    """Take the lease from an owner that is dead or too late."""
    if _is_left_behind(tx, row):
        tx.log(row, _LEFT_BEHIND, "lease expired")
    return hand_back(tx, row, "lease expired")


def hand_back(tx: Transaction, row: Generation, actor: str) -> Generation:
    """Nobody works on the row any more. An intent that may have been sent becomes UNKNOWN."""
    if row.state is State.INTENDED:
        row = _owner_lost(tx, row, actor)
    tx.update(row.id, owner=None, lease_until=None)
    return tx.load(row.id)


_FIXED: dict[State, ClaimOutcome] = {
    State.ARCHIVED: "done",
    State.PARKED: "parked",
    State.LOST: "lost",
}


def _refused_in_this_run(tx: Transaction, plan: Plan) -> Generation | None:
    """The row of this key that fal refused for good in the very flow run that asks now: a retry pays in vain."""
    if plan.flow_run_id is None:
        return None
    asked = {"wanted": plan.key, "run": plan.flow_run_id}
    row = tx.connection.execute(_REFUSED, asked).one_or_none()
    return None if row is None else generation_of(row)


def _not_permitted(row: Generation, why: str) -> PostNotPermitted:
    return PostNotPermitted(
        f"Generation {row.id} must not be sent: {why}",
        bill="Nothing more is sent",
        next_step="Read it again and do what its state asks for",
    )


def _owner_lost(tx: Transaction, row: Generation, actor: str) -> Generation:
    record(tx, row, OwnerLost(), owner=None, actor=actor)
    return tx.load(row.id)


def _grant(tx: Transaction, row: Generation, owner: Owner) -> Claim:
    permission: dict[str, Any] = {}
    if row.state is State.INTENDED:
        # The permission to POST. Without a promise to announce it, it may leave at any moment from here on.
        permission = {"posted_at": tx.now, "post_may_have_left": not owner.announces_posts}
    _hold(tx, row, owner, **permission)
    effects = todo(row.snapshot)
    return Claim("submit" if row.state is State.INTENDED else "resume", tx.load(row.id), effects)


def _is_left_behind(tx: Transaction, row: Generation) -> bool:
    """Whether the run that wanted the video of this row, which nobody holds, has failed or died.

    A run that handed its row back has it still, although it has ended: `submit_only` and whoever submits now and
    collects later. Looking at a row, as the sweep does, makes nobody the one who wants it.
    """
    last = tx.connection.execute(_WHOSE, {"wanted": row.id}).one_or_none()
    if last is None or last.event == _LEFT_BEHIND:
        return True
    holder = Owner.parse(row.owner) if row.owner is not None else None
    return holder is not None and holder.label == last.actor


def _hold(tx: Transaction, row: Generation, owner: Owner, *, log: bool = True, **also: Any) -> None:
    if row.owner not in (None, owner.token) and _is_left_behind(tx, row):
        tx.log(row, _LEFT_BEHIND, owner.label)
    tx.update(row.id, owner=owner.token, lease_until=tx.now + tx.lease_seconds, **also)
    if log and row.owner != owner.token:
        tx.log(row, "Taken", owner.label)


def _check_budgets(tx: Transaction, plan: Plan, limits: Sequence[BudgetLimit]) -> None:
    counted = [limit for limit in limits if limit.tag is None or limit.tag in plan.tags]
    if counted and plan.price_is_guess:
        raise PriceUnknown(plan.endpoint)
    needed = nano_to_usd(max(usd_to_nano(plan.price_upper_usd), usd_to_nano(plan.price_expected_usd)))
    names = (sums.ALL_ROWS, *map(sums.tag_name, plan.tags))
    locks.budgets(tx.connection, names, map(sums.name_of, counted))
    for limit in counted:
        held, _ = sums.held_and_settled(tx.connection, limit, tx.now)
        if held + needed > limit.usd:
            raise BudgetExceeded(limit, held_usd=held, needed_usd=needed)
        if limit.is_low(limit.usd - held - needed) and not limit.is_low(limit.usd - held):
            tx.lowered.append(limit)
