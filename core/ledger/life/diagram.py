"""The state machine as a page: a diagram, and every rule with the fact that it rests on."""

from collections import defaultdict
from typing import Final

from prefect_ltx.ledger.life.machine import RULES
from prefect_ltx.ledger.life.rule import Rule
from prefect_ltx.ledger.life.states import CLOSED, Effect, State

_HEAD: Final = """\
# The life of one generation

Generated from the rules in `core/ledger` by `python -m prefect_ltx.ledger.life.diagram > docs/ledger-states.md`;
a test keeps both equal. "§" numbers are sections of the wire's fact sheet (fal-protocol).

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
    print(page(), end="")
