"""The command line, `prefect-ltx`. `--help` imports neither Prefect nor a room: commands import their own.

Exit code 0: all of it succeeded. 1: something did not, said in one line on stderr. 2: wrong usage. Results go
to stdout, as a table or with `--json` as one JSON document; progress and everything else goes to stderr.
"""

from typing import Annotated

import typer

from prefect_ltx.cli import (
    archive,
    batch,
    demo,
    deploy,
    doctor,
    film,
    frame,
    generate,
    ledger,
    local_fal,
    plan,
    printing,
    sweep,
    takes,
    watch,
    webhook,
)

app = typer.Typer(
    name="prefect-ltx",
    help="LTX-2.3 video generation on fal, as Prefect flows: paid for once, never lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    context: typer.Context,
    fal_url: frame.FalUrl = None,
    ledger_url: frame.LedgerUrl = None,
    archive_location: frame.ArchiveLocation = None,
    budget_usd: frame.BudgetUsd = None,
    as_json: frame.AsJson = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=frame.print_version, help="Show the version.")
    ] = False,
) -> None:
    frame.begin()
    frame.use_settings(
        fal_url=fal_url, ledger_url=ledger_url, archive_location=archive_location, budget_usd=budget_usd
    )
    context.obj = as_json


for _room in (
    demo,
    generate,
    batch,
    takes,
    film,
    plan,
    ledger,
    sweep,
    watch,
    archive,
    doctor,
    local_fal,
    webhook,
    deploy,
):
    _room.register(app)


def main() -> None:
    """The console script."""
    printing.prepare()
    app()
