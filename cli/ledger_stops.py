"""`prefect-ltx ledger resolve --bill-checked`: a person has looked at a bill that stops spending."""

from typing import TYPE_CHECKING

from prefect_ltx.cli.frame import Output

if TYPE_CHECKING:
    from prefect_ltx.ledger import Ledger


class NothingStopsError(Exception):
    """The generation's bill stops nothing. Nothing was changed."""


def let_buying_go_on(output: Output, ledger: "Ledger", name: str, *, by: str) -> None:
    """Resolve the stops of one generation, or the one that is named by its own id.

    Raises:
        NothingStopsError: nothing stops it.
        GenerationNotFound: there is no such generation.
    """
    from prefect_ltx.cli.ledger_view import stop_facts
    from prefect_ltx.cli.tables import facts

    waiting = ledger.stops()
    meant = [each for each in waiting if name in (each.id, each.generation_id, each.request_id)]
    if not meant:
        row = ledger.get(name)
        meant = [each for each in waiting if each.generation_id == row.id]
        if not meant:
            raise NothingStopsError(
                f"No bill of generation {row.id} stops spending. Nothing was changed, sent or spent."
            )
    resolved = [ledger.resolve_stop(each.id, by) for each in meant]
    left = ledger.stops()
    output.result(
        {"resolved": [stop_facts(each) for each in resolved], "stops": [stop_facts(each) for each in left]},
        facts(
            {
                "generation": resolved[0].generation_id,
                "billed": resolved[0].billed_usd,
                "expected at most": resolved[0].upper_usd,
                "next": f"{len(left)} other bills still stop spending; see `prefect-ltx ledger spend`"
                if left
                else "buying goes on",
            }
        ),
    )
