"""`prefect-ltx ledger spend --usable`: what a usable clip costs, as a table, as JSON or for a spreadsheet."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from prefect_ltx.cli.frame import Output

if TYPE_CHECKING:
    from prefect_ltx.ledger import Period, Usable

COLUMNS: Final = (
    "attempts",
    "usable",
    "chosen",
    "rejected",
    "passed_over",
    "lost",
    "failed",
    "open",
    "usable_rate",
    "usable_usd",
    "unusable_usd",
    "open_usd",
    "usable_seconds",
    "usd_per_usable_clip",
    "usd_per_usable_second",
    "bills_not_known",
    "why_not",
)


def usable_facts(group: "Usable") -> dict[str, Any]:
    """One group, as names and JSON-like values: amounts exact in USD, quotients to 28 digits."""
    fates = group.fates
    seconds = Decimal(group.seconds.numerator) / Decimal(group.seconds.denominator)
    return {
        "name": group.name,
        "attempts": group.attempts,
        "usable": group.usable,
        "chosen": group.chosen,
        "rejected": fates["rejected"],
        "passed_over": fates["passed over"],
        "lost": fates["lost"],
        "failed": fates["failed"] + fates["cancelled"] + fates["given up"],
        "open": group.open,
        "usable_rate": group.rate,
        "usable_usd": group.usable_usd,
        "unusable_usd": group.unusable_usd,
        "open_usd": group.open_usd,
        "usable_seconds": seconds,
        "usd_per_usable_clip": group.usd_per_clip,
        "usd_per_usable_second": group.usd_per_second,
        "bills_not_known": group.estimated,
        "why_not": dict(group.why.most_common()),
    }


def show_usable(output: Output, groups: "Sequence[Usable]", by: str, period: "Period", *, csv: bool) -> None:
    """The groups on stdout."""
    from prefect_ltx.cli.tables import facts, grid

    found = [usable_facts(each) for each in groups]
    if csv:
        output.table(
            (by, *COLUMNS),
            ({by: each["name"], **each, "why_not": _why(each["why_not"])} for each in found),
        )
        return
    attempts = sum(each.attempts for each in groups)
    many = len(groups) > 1 or by != "all"
    lines = [
        (
            each["name"],
            each["attempts"],
            each["usable"],
            percent(each["usable_rate"]),
            each["usable_usd"],
            each["unusable_usd"],
            rounded(each["usd_per_usable_clip"]),
            rounded(each["usd_per_usable_second"]),
            "; ".join(_why(each["why_not"])),
        )
        for each in found
    ]
    columns = (
        by,
        "#attempts",
        "#usable",
        "#rate",
        "$usable",
        "$not usable",
        "$a clip",
        "$a second",
        "why not",
    )
    one = {
        name.replace("_", " "): value
        for name, value in (found[0] if found else {}).items()
        if name not in ("name", "why_not") and value != 0
    }
    if one:
        one |= {
            "usable rate": percent(found[0]["usable_rate"]),
            "usable seconds": f"{float(found[0]['usable_seconds']):.3f}",
            "usd per usable clip": rounded(found[0]["usd_per_usable_clip"]),
            "usd per usable second": rounded(found[0]["usd_per_usable_second"]),
            **{f"not usable: {why}": count for why, count in found[0]["why_not"].items()},
        }
    output.result(
        {"by": by, "since": period.since, "until": period.until, "usable": found},
        (grid(columns, lines) if many else facts(one)) if attempts else f"Nothing was attempted in {period}.",
    )


def percent(rate: Decimal | None) -> str:
    """A share for people."""
    return "-" if rate is None else f"{rate * 100:.1f} %"


def rounded(usd: Decimal | None) -> Decimal | None:
    """A quotient as people read it; `--json` and `--csv` have all of its digits."""
    return None if usd is None else usd.quantize(Decimal("0.0001"))


def _why(reasons: dict[str, int]) -> list[str]:
    return [f"{count} {why}" for why, count in reasons.items()]
