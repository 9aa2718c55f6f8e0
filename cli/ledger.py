"""`prefect-ltx ledger list|show|spend|resolve`: the money record. Needs neither fal nor Prefect."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from prefect_ltx.cli import accounts
from prefect_ltx.cli.frame import AsCsv, Output, command
from prefect_ltx.cli.ledger_repair import opened, person, rebuild, verify
from prefect_ltx.cli.ledger_stops import let_buying_go_on
from prefect_ltx.cli.moving import copy_ledger

if TYPE_CHECKING:
    from prefect_ltx.ledger import Generation, Ledger


G = TypeVar("G", bound=str)


class ResolveRefusedError(Exception):
    """The decision does not fit the generation's state. Nothing was changed."""


GenerationId = Annotated[
    str, typer.Argument(metavar="ID", help="A generation's id or its beginning, or fal's request id.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = typer.Typer(
        help="The money record: every generation, what it cost, what is left.", no_args_is_help=True
    )
    app.add_typer(group, name="ledger")
    for name, function in (
        ("list", list_),
        ("show", show),
        ("spend", spend),
        ("resolve", resolve),
        ("rebuild", rebuild),
        ("verify", verify),
        ("copy", copy_ledger),
    ):
        command(group, name)(function)
    accounts.register(group)


def list_(
    output: Output,
    state: Annotated[
        list[str] | None, typer.Option(help="Only in this state, such as PARKED; may be repeated.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    flow_run: Annotated[str | None, typer.Option(help="Only of this flow run.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many, the newest; 50, and with --csv all of them.")
    ] = None,
    csv: AsCsv = False,
) -> None:
    """Generations, newest first: state, price, what was billed."""
    from prefect_ltx.cli.ledger_view import GENERATION_COLUMNS, generation_facts, generation_row
    from prefect_ltx.cli.tables import grid, when
    from prefect_ltx.ledger import State

    try:
        states = [State(each.upper()) for each in state] if state else None
    except ValueError:
        raise typer.BadParameter(f"--state is one of {', '.join(State)}.") from None
    with opened() as ledger:
        rows = ledger.find(states=states, tag=tag, flow_run_id=flow_run, limit=limit or (None if csv else 50))
    if csv:
        output.table(GENERATION_COLUMNS, map(generation_row, rows))
        return
    output.result(
        {"generations": [generation_facts(row) for row in rows]},
        grid(
            ("generation", "state", "endpoint", "created (UTC)", "$expected", "$held", "$billed", "tags"),
            [
                (
                    row.id,
                    row.state,
                    row.endpoint.rpartition("/")[2],
                    when(row.created_at),
                    row.price_expected_usd,
                    row.held_usd,
                    row.settled_usd,
                    row.tags,
                )
                for row in rows
            ],
        )
        if rows
        else "The ledger has no such generation.",
    )


def show(output: Output, generation_id: GenerationId) -> None:
    """One generation: what is known of it, and everything that happened to it."""
    from prefect_ltx.cli.ledger_view import event_facts, generation_facts
    from prefect_ltx.cli.tables import facts, grid, text, when

    with opened() as ledger:
        row = ledger.get(generation_id)
        events = ledger.events(row.id)
    shown = generation_facts(row)
    output.result(
        {"generation": shown, "events": [event_facts(each) for each in events]},
        facts(
            {
                **{name.replace("_", " "): value for name, value in shown.items() if name != "body"},
                "prompt": row.body.get("prompt"),
            }
        ),
        "",
        grid(
            ("at (UTC)", "what happened", "state after", "because", "detail"),
            [
                (
                    when(each.at),
                    each.event,
                    each.to_state if each.to_state != each.from_state else "",
                    each.because,
                    "; ".join(f"{name} {text(value)}" for name, value in each.detail.items()),
                )
                for each in events
            ],
        ),
    )


def spend(
    output: Output,
    by: Annotated[
        str,
        typer.Option(
            metavar="GROUP",
            help="day (the default), tag, endpoint, state; with --usable also batch, film, storyboard, prompt.",
        ),
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first UTC day that counts, as 2026-11-21.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first UTC day that does not count any more.")
    ] = None,
    usable: Annotated[
        bool,
        typer.Option("--usable", help="What usable clips cost: attempts, rejects, price a clip and second."),
    ] = False,
    tag: Annotated[str | None, typer.Option(help="With --usable: only generations with this tag.")] = None,
    csv: AsCsv = False,
) -> None:
    """What is reserved, what was billed and saved, and what is left of the budget."""
    from prefect_ltx.cli.ledger_view import spend_facts
    from prefect_ltx.cli.tables import facts, grid
    from prefect_ltx.cli.usable_view import show_usable
    from prefect_ltx.generation import budget_from
    from prefect_ltx.ledger import USABLE_GROUPINGS, Period
    from prefect_ltx.ledger.spend import GROUPINGS
    from prefect_ltx.settings import Settings

    period = Period(_day(since, "--since"), _day(until, "--until"))
    if usable:
        grouping = _grouping(by or "all", USABLE_GROUPINGS)
        with opened() as ledger:
            groups = ledger.usable(grouping, period, tag)
        show_usable(output, groups, grouping, period, csv=csv)
        return
    if tag is not None:
        raise typer.BadParameter("--tag is for --usable; `--by tag` sums over tags.")
    group = _grouping(by or "day", GROUPINGS)
    with opened() as ledger:
        found = ledger.spend(period, budget_from(Settings()))
    totals = found.by[group]
    if csv:
        columns = (group, "generations", "expected_usd", "held_usd", "billed_usd")
        lines = [
            (each.name, each.count, each.expected_usd, each.held_usd, each.settled_usd) for each in totals
        ]
        output.table(columns, (dict(zip(columns, line, strict=True)) for line in lines))
        return
    output.result(
        spend_facts(found, group),
        grid(
            (group, "#generations", "$expected", "$held", "$billed"),
            [(each.name, each.count, each.expected_usd, each.held_usd, each.settled_usd) for each in totals],
        )
        if totals
        else "Nothing is written in this ledger."
        if period == Period()
        else f"Nothing was intended in {period}.",
        facts(
            {
                "given out again instead of bought": found.reuses or None,
                "saved by that": found.saved_usd or None,
                "lost": len(found.lost) or None,
                "charged twice": len(found.double_charges) or None,
                **{f"left of budget {each.limit}": each.left_usd for each in found.budgets},
                "STOPPED": found.stops[0].why if found.stops else None,
            }
        ),
    )


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
    bill_checked: Annotated[
        bool,
        typer.Option("--bill-checked", help="Its bill, far beyond its bound, was looked at: buying goes on."),
    ] = False,
) -> None:
    """Decide what looking could not, for a parked or lost generation or an absurd bill: exactly one of the options."""
    from prefect_ltx.cli.ledger_view import generation_facts
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.ledger import Resolved

    if sum((adopt is not None, absent, write_off, bill_checked)) != 1:
        raise typer.BadParameter(
            "give exactly one of --adopt REQUEST_ID, --absent, --write-off and --bill-checked."
        )
    if bill_checked:
        with opened(read_only=False) as ledger:
            let_buying_go_on(output, ledger, generation_id, by=person())
        return
    choice: Literal["adopt", "absent", "write_off"] = (
        "adopt" if adopt is not None else "absent" if absent else "write_off"
    )
    with opened(read_only=False) as ledger:
        before = ledger.get(generation_id)
        _refuse_another_accounts(ledger, before)
        step = ledger.record(before.id, Resolved(choice=choice, request_id=adopt, by=person()))
        after = ledger.get(before.id)
    if after.state == before.state:
        raise ResolveRefusedError(
            f"Generation {after.id} stays {after.state}: {step.because}. Nothing was sent or spent."
        )
    output.result(
        {"generation": generation_facts(after)},
        facts(
            {
                "generation": after.id,
                "was": before.state,
                "is now": after.state,
                "request": after.request_id,
                "counts as spent": after.held_usd,
                "next": _NEXT[choice],
            }
        ),
    )


def _refuse_another_accounts(ledger: "Ledger", row: "Generation") -> None:
    """Where a key is set, what it may decide about is its own account's; fal is not asked."""
    from prefect_ltx.generation import client_from
    from prefect_ltx.settings import Settings

    settings = Settings()
    if settings.fal_key is None and not settings.fal_url:
        return
    key_id = client_from(settings).account
    mine = {key_id, *(each.account for each in ledger.accounts(key_id=key_id))}
    if row.account not in mine:
        raise ResolveRefusedError(
            f"Generation {row.id} is another account's ({row.account}), and the key in use belongs to "
            f"{', '.join(sorted(mine))}. Nothing was changed, sent or spent. Use that account's key, or none."
        )


_NEXT = {
    "adopt": "run the request again, or `prefect-ltx sweep`, to collect the video",
    "absent": "its key and its budget are free; run the request again to send it",
    "write_off": "its key is free; running the request again buys the video again",
}


def _grouping(by: str, known: Sequence[G]) -> G:
    for each in known:
        if each == by:
            return each
    raise typer.BadParameter(f"--by is one of {', '.join(map(str, known))}.")


def _day(text: str | None, flag: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{flag} is a date such as 2026-11-21, not {text!r}.") from None
