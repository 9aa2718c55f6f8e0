"""Rich tables and the few formats that all commands share."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich.table import Table

from prefect_ltx.ledger.life.budget import dollars


def usd(amount: Decimal | None) -> str:
    """Dollars, exact: `$0.26964`, `$1.20`; a dash for none."""
    return "-" if amount is None else dollars(amount)


def when(moment: datetime | None) -> str:
    """A moment in UTC to the second; a dash for none."""
    return "-" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def facts(rows: Mapping[str, object], title: str | None = None) -> Table:
    """Two columns, names and values; rows without a value are left out."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value not in (None, "", [], ()):
            table.add_row(name, text(value))
    return table


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """A table with a header; columns whose name begins with `$` or `#` are numbers and stand right."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for name in columns:
        number = name[:1] in "$#"
        table.add_column(name.lstrip("$#"), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(text(value) for value in row))
    return table


def text(value: object) -> str:
    """A value as a cell's text: amounts as dollars, lists with commas, and no markup of rich's in it."""
    from rich.markup import escape

    if isinstance(value, Decimal):
        return usd(value)
    if isinstance(value, datetime):
        return when(value)
    if isinstance(value, (list, tuple)):
        return escape(", ".join(str(each) for each in value))
    return "-" if value is None else escape(str(value))
