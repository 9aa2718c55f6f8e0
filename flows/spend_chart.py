"""Dollars a day as a picture: two amounts, stacked, and where there is one a line across them; an SVG made here."""

import base64
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from prefect_ltx.ledger import Period, Total, Usable

WIDTH: Final = 720
HEIGHT: Final = 260
MOST_DAYS: Final = 62
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 34, 30
_SPEND = (("#2563eb", "billed"), ("#93c5fd", "not billed yet"), ("#b45309", "expected"))
_USABLE = (("#15803d", "for usable clips"), ("#fca5a5", "for the others"))


class _Bar(NamedTuple):
    name: str
    """The day."""
    lower: Decimal
    upper: Decimal
    """Both amounts together."""
    line: Decimal = Decimal(0)


def days_of(period: Period, totals: Sequence[Total]) -> list[Total]:
    """The days of the period with those that cost nothing in between, at most the last 62."""
    found = {each.name: each for each in totals}
    if not found and (period.since is None or period.until is None):
        return []
    first = period.since or date.fromisoformat(min(found))
    last = period.until - timedelta(days=1) if period.until else date.fromisoformat(max(found))
    names = [
        date.fromordinal(number).isoformat() for number in range(first.toordinal(), last.toordinal() + 1)
    ]
    zero = Decimal(0)
    return [found.get(name, Total(name, 0, zero, zero, zero)) for name in names[-MOST_DAYS:]]


def spend_chart(days: Sequence[Total]) -> str:
    """What was billed, what is not billed yet and what was expected, as a data URI that Prefect's interfaces show."""
    return _picture(
        [_Bar(each.name, each.settled_usd, each.held_usd, each.expected_usd) for each in days], _SPEND
    )


def usable_chart(days: Sequence[Total], usable: Sequence[Usable]) -> str:
    """Money for clips that can be used and for the others, on these days; the same kind of picture."""
    found = {each.name: each for each in usable}
    none = Usable("")
    bars = [
        _Bar(day.name, each.usable_usd, each.usable_usd + each.unusable_usd)
        for day in days
        for each in (found.get(day.name, none),)
    ]
    return _picture(bars, _USABLE)


def _picture(bars: Sequence[_Bar], legend: Sequence[tuple[str, str]]) -> str:
    svg = _svg(bars, legend).encode()
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _svg(bars: Sequence[_Bar], legend: Sequence[tuple[str, str]]) -> str:
    top = _nice(max([Decimal(0), *(max(each.upper, each.line) for each in bars)]))
    plot = HEIGHT - _TOP - _BOTTOM
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(bars))

    def at(usd: Decimal) -> float:
        return HEIGHT - _BOTTOM - float(usd / top) * plot

    colors = [color for color, _ in legend]
    parts = [_legend(legend)]
    for quarter in range(5):
        usd = top * quarter / 4
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at(usd):.1f}" y2="{at(usd):.1f}" stroke="#e5e7eb"/>'
            f'<text x="{_LEFT - 8}" y="{at(usd) + 4:.1f}" text-anchor="end">${usd.normalize():f}</text>'
        )
    every = -(-len(bars) // 10)
    for number, day in enumerate(bars):
        left, width = _LEFT + step * (number + 0.15), step * 0.7
        parts.append(_bar(left, width, at(day.lower), at(Decimal(0)), colors[0]))
        parts.append(_bar(left, width, at(day.upper), at(day.lower), colors[1]))
        if day.line:
            y = at(day.line)
            parts.append(
                f'<line x1="{left - step * 0.08:.1f}" x2="{left + width + step * 0.08:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="{colors[-1]}" stroke-width="2"/>'
            )
        if number % every == 0:
            parts.append(
                f'<text x="{left + width / 2:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{day.name[5:]}</text>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11" fill="#374151">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _legend(legend: Sequence[tuple[str, str]]) -> str:
    parts, x = [], _LEFT
    for color, text in legend:
        parts.append(
            f'<rect x="{x}" y="10" width="10" height="10" fill="{color}"/><text x="{x + 15}" y="19">{text}</text>'
        )
        x += 120
    return "".join(parts)


def _bar(x: float, width: float, top: float, bottom: float, color: str) -> str:
    if bottom - top <= 0:
        return ""
    return f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}" fill="{color}"/>'


def _nice(usd: Decimal) -> Decimal:
    """The next of 1, 2, 4, 6, 8 times a power of ten, so that quarters of it are short numbers."""
    if usd <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(usd.adjusted())
    return next(power * each for each in (1, 2, 4, 6, 8, 10) if power * each >= usd)
