"""The SQL that keeps budgets' sums (`sums`), as schema version 3 has it. Frozen: a change is another version's.

A row counts in six sums where it has one tag: its UTC day, its UTC month and all time, of all rows (the name is
empty) and of the tag (`#tag`). Tags are written after their row and never changed.
"""

# ruff: noqa: S608 - constants only, nothing of anybody's

from typing import Final

_LINES: Final = 32
"""Over how many lines PostgreSQL spreads a sum."""

_PERIODS: Final = (
    "(SELECT 'day' AS period, 10 AS size UNION ALL SELECT 'month', 7 UNION ALL SELECT 'total', 0)"
)

FROM_ROWS_3: Final = f"""
    SELECT named.name, periods.period, substr(g.created_day, 1, periods.size) AS start,
        sum(g.held_nano) AS held_nano, sum(coalesce(g.settled_nano, 0)) AS settled_nano
    FROM (SELECT id, '' AS name FROM ltx_generation
        UNION ALL SELECT generation_id, '#' || tag FROM ltx_tag) AS named
    JOIN ltx_generation AS g ON g.id = named.id CROSS JOIN {_PERIODS} AS periods
    GROUP BY 1, 2, 3"""
"""Name, period, start, held and settled of every sum, added up from the rows."""

FILL_3: Final = f"""INSERT INTO ltx_sum (name, period, start, line, held_nano, settled_nano)
    SELECT name, period, start, 0, held_nano, settled_nano FROM ({FROM_ROWS_3}) AS added"""


def _add(row: str, names: str, held: str, settled: str, line: str) -> str:
    return f"""INSERT INTO ltx_sum AS s (name, period, start, line, held_nano, settled_nano)
        SELECT named.name, periods.period, substr({row}.created_day, 1, periods.size), {line}, {held}, {settled}
        FROM ({names}) AS named CROSS JOIN {_PERIODS} AS periods
        WHERE true ORDER BY 1, 2, 3
        ON CONFLICT (name, period, start, line) DO UPDATE SET
            held_nano = s.held_nano + excluded.held_nano, settled_nano = s.settled_nano + excluded.settled_nano;"""


def _statements(line: str) -> dict[str, str]:
    """What is added to the sums by each kind of change."""
    all_rows = "SELECT '' AS name"
    tags = "SELECT '#' || tag FROM ltx_tag WHERE generation_id = NEW.id"
    found = {
        "insert": _add("NEW", all_rows, "NEW.held_nano", "coalesce(NEW.settled_nano, 0)", line),
        "update": _add(
            "NEW",
            f"{all_rows} UNION ALL {tags}",
            "NEW.held_nano - OLD.held_nano",
            "coalesce(NEW.settled_nano, 0) - coalesce(OLD.settled_nano, 0)",
            line,
        ),
        "delete": _add("OLD", all_rows, "-OLD.held_nano", "-coalesce(OLD.settled_nano, 0)", line),
    }
    for kind, row, sign in (("tagged", "NEW", ""), ("untagged", "OLD", "-")):
        # A tag's row is there when the tag comes, and when it goes: the tag refers to it.
        names = (
            f"SELECT '#' || {row}.tag AS name, g.* FROM ltx_generation AS g WHERE g.id = {row}.generation_id"
        )
        found[kind] = _add(
            "named", names, f"{sign}named.held_nano", f"{sign}coalesce(named.settled_nano, 0)", line
        )
    return found


_WHEN: Final = {
    "insert": ("AFTER INSERT ON ltx_generation", ""),
    "update": (
        "AFTER UPDATE OF held_nano, settled_nano ON ltx_generation",
        "OLD.held_nano {differs} NEW.held_nano OR OLD.settled_nano {differs} NEW.settled_nano",
    ),
    "delete": ("AFTER DELETE ON ltx_generation", ""),
    "tagged": ("AFTER INSERT ON ltx_tag", ""),
    "untagged": ("BEFORE DELETE ON ltx_tag", ""),
}


def _sqlite() -> list[str]:
    made = []
    for kind, statement in _statements("0").items():
        event, condition = _WHEN[kind]
        when = f"WHEN {condition.format(differs='IS NOT')}" if condition else ""
        made.append(
            f"CREATE TRIGGER ltx_sum_{kind} {event} {when} BEGIN {statement.replace(' AS s (', ' (', 1)} END"
        )
    return [each.replace("= s.", "= ") for each in made]


def _postgresql() -> list[str]:
    made = []
    for kind, statement in _statements(f"mod(pg_backend_pid(), {_LINES})").items():
        event, condition = _WHEN[kind]
        when = f"WHEN ({condition.format(differs='IS DISTINCT FROM')})" if condition else ""
        given_back = "RETURN OLD;" if kind == "untagged" else "RETURN NULL;"
        made += [
            f"""CREATE FUNCTION ltx_sum_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN {statement} {given_back} END $$""",
            f"CREATE TRIGGER ltx_sum_{kind} {event} FOR EACH ROW {when} EXECUTE FUNCTION ltx_sum_{kind}()",
        ]
    return made


TRIGGERS_3: Final = {"sqlite": _sqlite(), "postgresql": _postgresql()}
"""The statements that make the triggers, by database."""
