"""The frame around every command: the shared flags, one line for an error, a table or one JSON document.

The flags are written into the environment before a command runs, and places among them in absolute form, so that
flows, subprocesses and this process read the same settings.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from prefect_ltx.cli.complaints import DEBUG_VARIABLE, complain, describe, one_line_errors
from prefect_ltx.cli.printing import as_json, as_text, prepare, write_result

__all__ = ["DEBUG_VARIABLE", "complain", "describe"]

if TYPE_CHECKING:
    from prefect_ltx.media import Recipe

_PANEL: Final = "Settings"


def _usd(text: str) -> str:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not an amount in dollars.") from None
    if not amount.is_finite() or amount < 0:
        raise typer.BadParameter("an amount in dollars of 0 or more is needed.")
    return text


def _recipe(name: str) -> "str | Recipe":
    from prefect_ltx.media import RECIPES, RecipeUnreadable, read_recipe

    # Found out here and not when the video is paid for.
    if name in RECIPES:
        return name
    if Path(name.partition("?")[0]).suffix.lower() not in (".json", ".yaml", ".yml"):
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(RECIPES)}, nor a .json or .yaml file.")
    try:
        return read_recipe(name)
    except RecipeUnreadable as error:
        raise typer.BadParameter(str(error)) from None


def _endpoint(name: str) -> str:
    from prefect_ltx.fal import endpoint_model, endpoint_models, endpoint_name

    model = endpoint_model(name)
    if model is None:
        known = ", ".join(endpoint_name(each.ENDPOINT) for each in endpoint_models())
        raise typer.BadParameter(f"{name!r} is not one of {known}.")
    return endpoint_name(model.ENDPOINT)


# A text and no path, which would make one slash of the two in https://.
RequestFile = Annotated[
    str,
    typer.Argument(
        metavar="REQUEST.json",
        help="A request in fal's field names, as JSON or YAML; also s3:// or https://.",
    ),
]
FalUrl = Annotated[
    str | None,
    typer.Option(
        "--fal-url",
        metavar="URL",
        help="One base URL for all of fal's hosts (PREFECT_LTX_FAL_URL).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
LedgerUrl = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="URL",
        help="SQLAlchemy URL of the ledger (PREFECT_LTX_LEDGER).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
ArchiveLocation = Annotated[
    str | None,
    typer.Option(
        "--archive",
        metavar="FOLDER",
        help="A folder or s3://bucket/prefix (PREFECT_LTX_ARCHIVE).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
BudgetUsd = Annotated[
    str | None,
    typer.Option(
        "--budget-usd",
        metavar="USD",
        callback=lambda text: None if text is None else _usd(text),
        help="The most to spend per UTC day (PREFECT_LTX_BUDGET_USD).",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
FrameRuleOption = Annotated[
    Literal["nearest", "floor", "as_is"],
    typer.Option("--frame-rule", help="How to bring num_frames to the model's 8k+1."),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="NAME",
        callback=lambda name: None if name is None else _endpoint(name),
        help="reference-video-to-video or ingredient; told from the fields when left out.",
        show_default=False,
    ),
]
# Typer sees a string; the callback makes a recipe of what names a file.
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        callback=lambda name: _recipe(name),
        help="Which renditions to make: web, social, broadcast, review, none, or a file with a recipe.",
    ),
]
QualityOption = Annotated[
    Literal["off", "warn", "trim", "reject", "next_seed"],
    typer.Option("--quality", help="What to do about defects; next_seed buys another take."),
]
KeepingOption = Annotated[
    Literal["off", "warn", "trim", "reject"], typer.Option("--quality", help="What to do about defects.")
]
MaxSeedsOption = Annotated[
    int, typer.Option("--max-seeds", min=1, max=8, help="With --quality next_seed: takes at most.")
]
ApproveOption = Annotated[
    bool,
    typer.Option(
        "--approve",
        help="Nothing is spent before a person approved this very plan: in the Prefect UI, or with --plan --approve.",
    ),
]
ApprovalDaysOption = Annotated[
    float, typer.Option("--approval-days", min=0.001, max=366, help="How many days an approval holds.")
]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="A table as CSV on stdout, for a spreadsheet.", show_default=False)
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=_PANEL, show_default=False),
]


@dataclass(frozen=True)
class Output:
    """Where a command's result goes: stdout, as JSON or as what rich makes of it."""

    as_json: bool

    def result(self, data: Any, *renderables: Any) -> None:
        """Print `data` (a pydantic model, or JSON types, decimals and dates within) or the renderables."""
        write_result(as_json(data) if self.as_json else as_text(renderables))

    def table(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Print rows as CSV, for a spreadsheet; with `--json` as well nobody could say what is meant."""
        from prefect_ltx.table_files import csv_text

        if self.as_json:
            raise typer.BadParameter("give one of --csv and --json.")
        write_result(csv_text(columns, rows))


def begin() -> None:
    """Forget the flags of an earlier command of this process, and see to it that printing works."""
    prepare()
    if (places := sys.modules.get("prefect_ltx.places")) is not None:
        places.begin_command()


def use_settings(
    *,
    fal_url: str | None,
    ledger_url: str | None,
    archive_location: str | None,
    budget_usd: str | None,
) -> None:
    """Write the flags that were given into the environment variables that they stand for."""
    for flag, variable, value in (
        ("--fal-url", "PREFECT_LTX_FAL_URL", fal_url),
        ("--ledger", "PREFECT_LTX_LEDGER", ledger_url),
        ("--archive", "PREFECT_LTX_ARCHIVE", archive_location),
        ("--budget-usd", "PREFECT_LTX_BUDGET_USD", budget_usd),
    ):
        if value is not None:
            from prefect_ltx.places import set_by_flag

            set_by_flag(variable, value, flag)


def command(
    app: typer.Typer, name: str, *, settings: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function, plain or async, as a command with the shared flags.

    Its first parameter is the `Output`; what it returns is whether all of it succeeded (None: yes). With
    `settings=False` it has `--json` only: a command that reads no setting offers none.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        shared = inspect.signature(_shared if settings else _shared_by_all, eval_str=True).parameters
        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared.values())]

        def run(**given: Any) -> None:
            context: typer.Context = given.pop("context")
            as_json = given.pop("as_json") or bool(context.find_root().obj)
            if settings:
                use_settings(**{each: given.pop(each) for each in shared if each in given})
            with one_line_errors():
                if settings:
                    _settle_places()
                result = function(Output(as_json), **given)
                if inspect.iscoroutine(result):
                    import asyncio

                    result = asyncio.run(result)
            if result is False:
                raise typer.Exit(1)

        # typer reads the signature of what it registers; this one has the command's own flags and the shared.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name, help=inspect.getdoc(function))(run)
        return function

    return register


def _settle_places() -> None:
    from prefect_ltx.places import settle_environment

    settle_environment()


def print_version(wanted: bool) -> None:
    """Print the version and leave, when asked to."""
    if wanted:
        import prefect_ltx

        typer.echo(f"prefect-ltx {prefect_ltx.__version__}")
        raise typer.Exit


def _shared(
    context: typer.Context,
    fal_url: FalUrl = None,
    ledger_url: LedgerUrl = None,
    archive_location: ArchiveLocation = None,
    budget_usd: BudgetUsd = None,
    as_json: AsJson = False,
) -> None:
    """The flags of every command that reads settings, as typer reads them."""


def _shared_by_all(context: typer.Context, as_json: AsJson = False) -> None:
    """The flags of every command."""
