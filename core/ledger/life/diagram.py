"""The pages in docs/ that are made from the tables here: the state machine, and what proves what.

`python -m prefect_ltx.ledger.life.diagram` writes both into the folder that is given as its argument.
"""

import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

from prefect_ltx.ledger.life.answers import ANSWERS
from prefect_ltx.ledger.life.events import GONE_APART_SECONDS
from prefect_ltx.ledger.life.evidence import ABSENCE, ASK_LOST_SECONDS
from prefect_ltx.ledger.life.machine import RULES
from prefect_ltx.ledger.life.rule import Rule
from prefect_ltx.ledger.life.states import CLOSED, Effect, State

_HEAD: Final = """\
# The life of one generation

Generated from the rules in `core/ledger/life` by `python -m prefect_ltx.ledger.life.diagram docs`; a test keeps both
equal. "§" numbers are sections of the wire's fact sheet (fal-protocol). What makes an event is in
[what proves what](evidence.md).

"""

_EVIDENCE: Final = """\
# What proves what

Generated from the tables in `core/ledger/life` by `python -m prefect_ltx.ledger.life.diagram docs`; a test keeps both
equal. "§" numbers are sections of the wire's fact sheet (fal-protocol). What the events do is in
[the life of one generation](ledger-states.md).

Whatever is heard about a generation says who was asked (account and service), when (by fal's clock, the moment
before the question), about which attempt, and who answered. Of all of it only this counts:

- Words from fal itself. A gateway's page, an empty body and silence prove nothing, whatever their status code.
- Words to the row's own account, from the row's own service, about the row's present attempt or request.
- "Gone" when fal says it twice, {apart:g} s apart or more, with nothing to the contrary in between. A lost row is asked
  about again for {days:g} days.
- "Absent" when every line of the table below holds.

"""

_STAYS: Final = {"recorded": "(stays)", "stray": "(kept beside the row)", "ignored": "(ignored)"}


def edges() -> dict[tuple[State, State], tuple[str, ...]]:
    """The events on which each transition happens."""
    found: defaultdict[tuple[State, State], dict[str, None]] = defaultdict(dict)
    for line in RULES:
        for state in line.states:
            if line.to is not None:
                found[state, line.to][line.event.__name__] = None
    return {pair: tuple(events) for pair, events in found.items()}


def page() -> str:
    """The whole of docs/ledger-states.md."""
    return _HEAD + _mermaid() + _states() + _effects() + _rules()


def evidence_page() -> str:
    """The whole of docs/evidence.md."""
    head = _EVIDENCE.format(apart=GONE_APART_SECONDS, days=ASK_LOST_SECONDS / 86400)
    answers = [
        "## Answers about one request",
        "",
        "Of the lines for one question the first that fits decides. An answer that no line fits proves nothing.",
        "",
        "| asked for | answer | from | proves | because |",
        "|---|---|---|---|---|",
        *(
            f"| {line.asked} | {line.answer} | {'fal' if line.by == ('fal',) else 'anybody'} | {line.proves} | "
            f"{line.because} |"
            for line in ANSWERS
        ),
    ]
    absence = [
        "",
        "## When a request is absent",
        "",
        "A listed request is the row's when its stored input holds every key that was sent, with an equal value; with",
        "the user's own seed it also has to be of the time of the POST. Where none is, all of this is needed:",
        "",
        "| needed | else | because |",
        "|---|---|---|",
        *(f"| {line.needs} | {line.otherwise} | {line.because} |" for line in ABSENCE),
        "",
    ]
    return head + "\n".join(answers + absence)


def _mermaid() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> INTENDED: claim / POST_ONCE"]
    order = list(State)
    for (origin, to), events in sorted(edges().items(), key=lambda edge: [order.index(s) for s in edge[0]]):
        lines.append(f"    {origin} --> {to}: {', '.join(events)}")
    lines += [f"    {state} --> [*]" for state in State if state in CLOSED or state is State.ARCHIVED]
    return "\n".join([*lines, "```", "", ""])


def _states() -> str:
    rows = [
        f"| {state} | {'closed' if state in CLOSED else 'hit' if state is State.ARCHIVED else 'live'} |"
        for state in State
    ]
    return "\n".join(["| state | its key |", "|---|---|", *rows, "", ""])


def _effects() -> str:
    return "Effects: " + ", ".join(f"`{effect}`" for effect in Effect) + ".\n\n"


def _rules() -> str:
    lines = ["Of the rules for one state and event the first whose condition holds decides.", ""]
    by_event: defaultdict[str, list[Rule]] = defaultdict(list)
    for line in RULES:
        by_event[line.event.__name__].append(line)
    for event, rules in by_event.items():
        lines += [f"## {event}", "", "| in | if | becomes | effects | because |", "|---|---|---|---|---|"]
        lines += [_row(line) for line in rules]
        lines.append("")
    return "\n".join(lines)


def _row(line: Rule) -> str:
    states = "any state" if len(line.states) == len(State) else ", ".join(line.states)
    becomes = line.to or _STAYS[line.outcome]
    effects = ", ".join(line.effects) or "–"
    return f"| {states} | {line.when.label or '–'} | {becomes} | {effects} | {line.because} |"


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    (docs / "ledger-states.md").write_text(page())
    (docs / "evidence.md").write_text(evidence_page())
