"""The fenced blocks of a Markdown page, and what stands before each about how it is tried.

In a page's source a comment directly before a block says what cannot be read from the block itself:

    <!-- file: shots.csv -->      the block is written to that file, for the blocks after it
    <!-- not run: why -->         the block is only checked: its syntax, and the commands and options it names

Without one, `python`, `sh`, `yaml`, `json`, `jsonl` and `csv` blocks are run or parsed as they stand; `text`,
`mermaid` and blocks without a language show something and are not tried.
"""

import re
from dataclasses import dataclass
from pathlib import Path

SHOWN = {"", "text", "mermaid", "console"}
KNOWN = SHOWN | {"python", "sh", "yaml", "json", "jsonl", "csv", "toml", "ini"}
_FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<how>file|not run): (?P<what>[^\n]*?) -->\n+(?P=indent))?"
    r"```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    file: str = ""
    not_run: str = ""


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in their order; `line` is that of the opening fence, counted from 1."""
    source = page.read_text()
    found = []
    for each in _FENCE.finditer(source):
        indent = each["indent"]
        text = "\n".join(line.removeprefix(indent) for line in each["text"].splitlines()) + "\n"
        found.append(
            Block(
                language=each["language"],
                text=text,
                line=source.count("\n", 0, each.start("text")),
                file=each["what"] if each["how"] == "file" else "",
                not_run=each["what"] if each["how"] == "not run" else "",
            )
        )
    return found
