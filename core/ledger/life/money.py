"""What a row holds of a budget. The reservation is the row itself, so budgets are sums over rows."""

from prefect_ltx.fal import Billed
from prefect_ltx.ledger.life.states import State


def held_nano(state: State, *, billed: Billed | None, expected: int, upper: int, settled: int | None) -> int:
    """Nano-dollars that budgets count for a row.

    The cost once it is known; until then the upper bound, also for a failure or a cancel that may have been
    billed; nothing where nothing is owed; the expected price, as an estimate, once an archived or written-off
    row can only be settled by billing events.
    """
    if settled is not None:
        return settled
    match state:
        case State.RELEASED:
            return 0
        case State.FAILED | State.CANCELLED:
            return 0 if billed == "no" else upper
        case State.ARCHIVED | State.WRITTEN_OFF:
            return expected
        case _:
            return upper


def is_estimate(state: State, *, settled: int | None) -> bool:
    """Whether what is held is the expected price, for want of a known one."""
    return settled is None and state in (State.ARCHIVED, State.WRITTEN_OFF)
