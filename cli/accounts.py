"""`prefect-ltx ledger account list|same`: whose account a key belongs to. Spends nothing."""

from typing import Annotated

import typer

from prefect_ltx.cli.frame import Output, command


class NothingToAnswerError(Exception):
    """There is no other account that this key's could be. Nothing was changed."""


def register(group: typer.Typer) -> None:
    """Add the commands to the ledger's."""
    accounts = typer.Typer(help="Whose account a key belongs to.", no_args_is_help=True)
    group.add_typer(accounts, name="account")
    command(accounts, "list")(list_)
    command(accounts, "same")(same)


def list_(output: Output) -> None:
    """The accounts that this ledger knows, and by which keys; none of them is shown."""
    from prefect_ltx.cli.tables import grid, when
    from prefect_ltx.ledger import Ledger
    from prefect_ltx.ledger.rows import moment
    from prefect_ltx.settings import Settings

    with Ledger(Settings().ledger_url) as ledger:
        known = ledger.accounts()
    output.result(
        {"accounts": [each._asdict() for each in known]},
        grid(
            ("account", "service", "name", "named by", "key's fingerprint", "last used (UTC)"),
            [
                (
                    each.account,
                    each.service,
                    each.name,
                    each.named_by,
                    each.key_id,
                    when(moment(each.last_seen)),
                )
                for each in known
            ],
        )
        if known
        else "This ledger knows no account yet.",
    )


async def same(
    output: Output,
    account: Annotated[
        str | None,
        typer.Option("--as", metavar="ACCOUNT", help="Which one, where the ledger knows several."),
    ] = None,
) -> None:
    """Say that the key in use is of an account that the ledger knows under another key, as after a rotation."""
    from prefect_ltx.cli.tables import facts
    from prefect_ltx.generation import Services
    from prefect_ltx.settings import Settings

    async with Services.from_settings(Settings()) as services:
        ledger, mine = services.ledger, services.identity
        known = {each.account: each for each in await ledger.accounts(service=mine.service)}
        rows = await ledger.accounts_of_rows(mine.service)
        others = [each for each in dict.fromkeys((*known, *rows)) if each != mine.id]
        chosen = account or (others[0] if len(others) == 1 else "")
        if chosen not in others:
            raise NothingToAnswerError(
                f"Say which account with --as: this ledger knows {', '.join(others) or 'none'} beside this key's. "
                "Nothing was changed."
            )
        found = known.get(chosen)
        await ledger.note_account(
            mine.key_id,
            mine.service,
            chosen,
            name=found.name if found else None,
            named_by=found.named_by if found else "none",
        )
    output.result(
        {"account": chosen, "key_id": mine.key_id, "service": mine.service},
        facts({"account": chosen, "service": mine.service, "key's fingerprint": mine.key_id}),
    )
