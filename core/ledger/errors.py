"""Everything that can go wrong in the ledger. None of these classes means that money was spent.

Every message is one line: what happened, what it means for the bill, what to do next. None holds a password,
a URL's query or a request's body. All can be pickled.

    LedgerError
    ├── LedgerUnavailable       it cannot be opened, reached or written
    │   └── LedgerBehindArchive it is empty or older than the archive beside it, and would buy again what is there
    ├── LedgerSchemaUnknown     the database is not a ledger, or is one of a newer release
    ├── GenerationNotFound      no row has this id, prefix or request id, or several rows do
    ├── KeyNotComputable        a request that cannot be keyed must not be sent
    ├── PlanInvalid             a plan that cannot be written down must not be sent
    ├── NotRecordable           the database does not take a row's values; other rows are not concerned
    ├── BudgetExceeded          a limit would be passed; raised before the row exists
    ├── PriceUnknown            a budget is set, and nobody who could know has said the price
    ├── SpendingStopped         a bill was far beyond its bound, and nobody has looked at it yet
    ├── AnotherAccount          the row belongs to another account, or to another service
    ├── RequestClaimed          the request that was found belongs to another live row
    ├── LeaseLost               another owner has taken the row over, so this one may decide nothing
    └── PostNotPermitted        the one POST of this attempt may have left already, or is not wanted any more
"""

from decimal import Decimal
from typing import Any

from prefect_ltx.fal import plain
from prefect_ltx.ledger.life.budget import BudgetLimit, dollars

NOTHING_SPENT = "Nothing was sent or spent"


class LedgerError(Exception):
    """The ledger could not do what was asked. `what` says why, `bill` what it means for the money."""

    def __init__(self, what: str, *, bill: str = NOTHING_SPENT, next_step: str = "") -> None:
        """The parts of the message; `str(error)` is one line with all of them."""
        self.what = plain(what).rstrip(".")
        self.bill = bill.rstrip(".")
        self.next_step = next_step.rstrip(".")
        super().__init__(". ".join(part for part in (self.what, self.bill, self.next_step) if part) + ".")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its parts, so that it crosses processes unchanged."""
        return _restore, (type(self), str(self), self.__dict__)


class LedgerUnavailable(LedgerError):
    """The database cannot be opened, reached or written."""


class LedgerBehindArchive(LedgerUnavailable):
    """The archive holds videos that this ledger does not know: it is empty, older, or another one."""


class LedgerSchemaUnknown(LedgerError):
    """The database is not a ledger, or was made by a newer release."""


class GenerationNotFound(LedgerError):
    """Nothing, or more than one row, answers to this id, prefix or request id."""


class KeyNotComputable(LedgerError):
    """The request cannot be turned into a key. Without a key it must not be sent."""


class PlanInvalid(LedgerError):
    """The plan's values cannot be written down. Without a row it must not be sent."""


class NotRecordable(LedgerError):
    """The database does not take these values: too large for their column, or text that it cannot store."""


class AnotherAccount(LedgerError):
    """The row belongs to another account or service than the one in use, and is left alone."""

    def __init__(self, generation_id: str, *, account: str, service: str) -> None:
        """`account` and `service` are the row's own."""
        self.generation_id = generation_id
        self.account = account
        self.service = service
        where = f" on {service}" if service else ""
        super().__init__(
            f"Generation {generation_id} is another account's (account {account}{where})",
            bill="It was left alone; nothing was sent or spent",
            next_step="Use that account's key, or the fal URL that it was sent to",
        )


class PriceUnknown(LedgerError):
    """A budget is set and the price is only a guess, with which none can be held. Raised before the row exists."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is the one whose price fal did not say."""
        self.endpoint = endpoint
        super().__init__(
            f"fal does not say what a megapixel of {endpoint} costs this account, and never has: a budget cannot be "
            "held with a guess",
            next_step="Try again when fal's pricing API answers, or set PREFECT_LTX_UNIT_PRICE_USD to the price per "
            "megapixel on your account's page",
        )


class SpendingStopped(LedgerError):
    """fal billed one request far more than its bound: nothing is bought until a person has looked."""

    def __init__(self, stop_id: str, generation_id: str, *, billed_usd: Decimal, upper_usd: Decimal) -> None:
        """`billed_usd` is what fal billed for the generation, `upper_usd` what it might have cost at most."""
        self.stop_id = stop_id
        self.generation_id = generation_id
        self.billed_usd = billed_usd
        self.upper_usd = upper_usd
        super().__init__(
            f"fal billed {dollars(billed_usd)} for generation {generation_id}, which was to cost at most "
            f"{dollars(upper_usd)}: buying is stopped until a person has looked at it",
            next_step=f"Look at fal's billing, then `prefect-ltx ledger resolve {generation_id} --bill-checked`",
        )


class RequestClaimed(LedgerError):
    """The request that was found or named belongs to another live row: two rows never share one."""


class LeaseLost(LedgerError):
    """Another owner has this row now. Stop: send nothing, decide nothing."""


class PostNotPermitted(LedgerError):
    """This attempt's one POST must not be sent: it may have left already, or the row has moved on."""


class BudgetExceeded(LedgerError):
    """A generation would pass a limit. Raised before its row exists and before anything is sent."""

    def __init__(self, limit: BudgetLimit, *, held_usd: Decimal, needed_usd: Decimal) -> None:
        """`held_usd` is spent or reserved in the limit's period, `needed_usd` this one's upper bound."""
        self.limit = limit
        self.held_usd = held_usd
        self.needed_usd = needed_usd
        self.missing_usd = held_usd + needed_usd - limit.usd
        wait = "" if limit.period == "total" else ", or wait for the next period"
        super().__init__(
            f"Budget {limit} does not allow it: {dollars(held_usd)} is spent or reserved and this generation "
            f"needs up to {dollars(needed_usd)}, so {dollars(self.missing_usd)} is missing",
            next_step=f"Raise the limit{wait}",
        )


def _restore(cls: type[LedgerError], message: str, state: dict[str, Any]) -> LedgerError:
    error = cls.__new__(cls)
    error.args = (message,)
    error.__dict__.update(state)
    return error
