"""docs/local-fal.md says what the embedded fal does: its table of knobs is the program's own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_official_python_client_works_as_the_page_says(clip_file: Path, tmp_path: Path) -> None:
    """The page's own lines, in a process of their own: upload, queue and a synchronous run, two charges."""
    (code,) = re.findall(r"```python\n(import fal_client\n.*?)```", PAGE.read_text(), re.DOTALL)
    shutil.copy(clip_file, tmp_path / "dance.mp4")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/files/\S+\.mp4 \d+ 2\n", done.stdout)


def test_the_variables_of_the_official_client_take_a_path() -> None:
    """`FAL_RUN_HOST` with `/run` behind it is where synchronous runs live; both always mean https."""
    code = "from fal_client import client as c; print(c.RUN_URL_FORMAT, c.QUEUE_URL_FORMAT)"
    hosts = {"FAL_RUN_HOST": "127.0.0.1:8443/run", "FAL_QUEUE_RUN_HOST": "127.0.0.1:8443"}
    done = subprocess.run([sys.executable, "-c", code], env=hosts, capture_output=True, text=True, timeout=60)
    assert done.stdout == "https://127.0.0.1:8443/run/ https://127.0.0.1:8443/\n"
    assert all(name in PAGE.read_text() for name in hosts)


@pytest.mark.parametrize("route", ["/_local/accounts", "/run", "proxyUrl", "requestMiddleware"])
def test_the_page_names_what_a_reader_looks_for(route: str) -> None:
    """Where accounts are told, where synchronous runs live, how the JavaScript client is pointed here."""
    assert route in PAGE.read_text()


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + knobs_as_markdown() + END + rest.partition(END)[2])
