"""`prefect-ltx ledger list|show|spend|resolve`: the money record. Needs neither fal nor Prefect."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from prefect_ltx.cli.frame import Output, command

if TYPE_CHECKING:
    from prefect_ltx.ledger import Generation, Ledger


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(help="The money record.", no_args_is_help=True)
    app.add_typer(group, name="ledger")
    for name, function in (("list", list_), ("show", show), ("spend", spend), ("resolve", resolve)):
        command(group, name)(function)


GenerationId = Annotated[
    str, typer.Argument(metavar="ID", help="Generation id, its beginning, or fal's request id.")
]


def list_(
    output: Output,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Only what blocks its key: unfinished or archived.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
) -> None:
    """Generations, newest first: state, price, what was billed."""
    from prefect_ltx.cli.tables import grid, when

    wanted = [_state(each) for each in state or []]
    with _opened() as ledger:
        rows = ledger.find(states=wanted or None, tag=tag, live=True if live else None, limit=limit)
    output.result(
        {"generations": [_public(row) for row in rows]},
        grid(
            ("generation", "state", "endpoint", "created (UTC)", "$expected", "$billed", "request", "tags"),
            [
                (
                    row.id,
                    row.state,
                    row.endpoint.rpartition("/")[2],
                    when(row.created_at),
                    row.price_expected_usd,
                    row.price_billed_usd,
                    row.request_id,
                    row.tags,
                )
                for row in rows
            ],
            title=None if rows else "The ledger has no such generation.",
        ),
    )


def show(output: Output, generation_id: GenerationId) -> None:
    """One generation: every column, and everything that happened to it."""
    from prefect_ltx.cli.tables import facts, grid, when

    with _opened() as ledger:
        row = ledger.get(generation_id)
        events = ledger.events(row.id)
    output.result(
        {"generation": _public(row), "events": [asdict(each) for each in events]},
        facts(_public(row)),
        grid(
            ("at (UTC)", "event", "from", "to", "detail"),
            [(when(each.at), each.event, each.before, each.after, each.detail) for each in events],
        ),
    )


def spend(
    output: Output,
    by: Annotated[Literal["day", "tag", "endpoint", "state"], typer.Option(help="What to sum over.")] = "day",
) -> None:
    """Sums of what is reserved and what was billed, and what is left of the budget."""


def resolve(
    output: Output,
    generation_id: GenerationId,
    adopt: Annotated[
        str | None, typer.Option(metavar="REQUEST_ID", help="It is this request of fal's.")
    ] = None,
    absent: Annotated[bool, typer.Option("--absent", help="It never ran; nothing is owed.")] = False,
    write_off: Annotated[
        bool, typer.Option("--write-off", help="Give it up; the money counts as spent.")
    ] = False,
) -> None:
    """Decide what looking could not: for a parked or lost generation. Give exactly one of the three."""


@contextmanager
def _opened() -> "Iterator[Ledger]":
    from prefect_ltx.ledger import Ledger
    from prefect_ltx.settings import Settings

    ledger = Ledger(Settings().ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


def _public(row: "Generation") -> dict[str, Any]:
    return asdict(row)


def _state(name: str) -> Any:
    return name
