"""docs/local-fal.md says what the embedded fal does: its table of knobs is the program's own."""

from pathlib import Path

from prefect_ltx.local.fault_table import ALWAYS, GROUPS, FaultKind

PAGE = Path(__file__).parents[2] / "docs" / "local-fal.md"
BEGIN, END = (
    "<!-- knobs: `python tests/local/test_local_docs.py` writes this table -->\n",
    "<!-- end of the knobs -->\n",
)


def knobs_as_markdown() -> str:
    """The table as the page shows it; `python tests/local/test_local_docs.py` writes it there."""
    parts = []
    for title, knobs in GROUPS.items():
        lines = [f"\n### {title}\n", "| knob | does | times | value | also takes |", "|---|---|---|---|---|"]
        lines += [line_of(name, kind) for name, kind in knobs.items()]
        parts.append("\n".join(lines) + "\n")
    return "".join(parts) + "\n"


def line_of(name: str, kind: FaultKind) -> str:
    times = "always" if kind.times == ALWAYS else str(kind.times)
    value = "" if kind.value is None else f"{kind.value:.12g}"
    reads = ", ".join(f"`{each}`" for each in kind.reads)
    return f"| `{name}` | {kind.sentence} | {times} | {value} | {reads} |"


def test_the_page_shows_every_knob_as_the_program_has_it() -> None:
    """Name, sentence, how often and which value unless told otherwise, what else it takes."""
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == knobs_as_markdown(), "run: python tests/local/test_local_docs.py"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + knobs_as_markdown() + END + rest.partition(END)[2])
