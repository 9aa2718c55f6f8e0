"""Printing never fails and never hides a report, on whatever a command writes to."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.cli.prefect_server import without_prefect
from prefect_ltx.cli.printing import as_json, as_text
from prefect_ltx.cli.tables import facts, grid

ODD = "A dancer 🎬 – “smart” 日本"


# The frame around every command, with a command that needs nothing.
COMMAND = """
import typer
from prefect_ltx.cli import printing
from prefect_ltx.cli.frame import Output, command, complain
from prefect_ltx.cli.tables import facts, grid

app = typer.Typer()
app.callback()(lambda: None)

def show(output: Output) -> None:
    "Show something."
    complain("a note")
    rows = [(1, chr(0x1F3AC), "reference-video-to-video"), (2, "ok", "ingredient")]
    output.result({"rows": rows}, grid(("#row", "where", "endpoint"), rows), facts({"to send": "2 of 2"}))

command(app, "show", settings=False)(show)
printing.prepare()
app()
"""


def run(*options: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    environ = without_prefect(os.environ) | how.pop("environ", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
    command = [sys.executable, "-c", COMMAND, "show", *options]
    return subprocess.run(command, env=environ, timeout=100, check=False, **streams)


def test_a_plan_on_a_terminal_of_latin_1(media_folder: Path, tmp_path: Path) -> None:
    """E6: a batch whose ids few terminals can show: exit code 0 and the whole table, and --json in ASCII."""
    path = tmp_path / "odd.jsonl"
    row = {
        "prompt": ODD,
        "image_url": str(media_folder / "sheet.png"),
        "num_frames": 9,
        "id": "🎬",
        "seed": 1,
    }
    path.write_text(json.dumps(row))
    environ = without_prefect(os.environ) | {"PREFECT_LTX_HOME": str(tmp_path), "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "prefect_ltx.cli", "batch", str(path), "--plan"]
    done = subprocess.run(command, env=environ, capture_output=True, timeout=100, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"\\U0001f3ac" in done.stdout
    assert b"at most" in done.stdout


def test_a_terminal_that_knows_few_characters_gets_them_escaped() -> None:
    """E6: ASCII, an old code page, no locale: exit code 0 and the whole table; --json is ASCII everywhere."""
    for environ in (
        {"PYTHONIOENCODING": "ascii", "TERM": "dumb"},
        {"PYTHONIOENCODING": "cp437:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        done = run(environ=environ)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
        assert b"\\U0001f3ac" in done.stdout
        assert b"2 of 2" in done.stdout
    done = run("--json", environ={"PYTHONIOENCODING": "utf-8"})
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["rows"][0][1] == "🎬"


def test_what_stdout_does_not_take_goes_to_stderr() -> None:
    """A closed stdout, a full disk and a pipe that nobody reads: the exit code of the work, and its report."""
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:
        outputs: dict[str, dict[str, Any]] = {
            "a pipe": {"stdout": writer},
            "a full disk": {"stdout": full},
            "closed": {"stdout": None, "preexec_fn": lambda: os.close(1)},
        }
        for name, how in outputs.items():
            done = run("--json", **how)
            assert done.returncode == 0, (name, done.stderr)
            note, _, report = done.stderr.decode().partition("this is the result:\n")
            assert "stdout cannot be written" in note
            assert len(json.loads(report)["rows"]) == 2, name
            assert "Traceback" not in note
            assert "Exception ignored" not in done.stderr.decode()
    os.close(writer)


def test_a_closed_stderr_changes_nothing() -> None:
    """Notes that nobody can read do not end the work, nor its report."""
    reader, writer = os.pipe()
    os.close(reader)
    for how in ({"stderr": writer}, {"stderr": None, "preexec_fn": lambda: os.close(2)}):
        done = run("--json", **how)
        assert (done.returncode, len(json.loads(done.stdout)["rows"])) == (0, 2)
    os.close(writer)


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_terminal_of_twenty_columns_hides_nothing(term: str) -> None:
    """Where a table's columns have no room its values stand one below the other, each with its name."""
    master, slave = pty.openpty()
    done = run(environ={"COLUMNS": "20", "TERM": term, "PYTHONIOENCODING": "utf-8"}, stdout=slave)
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0, done.stderr
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for part in ("where: 🎬", "endpoint: reference-video-to-video", "to send: 2 of 2"):
        assert part in plain, shown


def test_a_report_holds_what_no_encoding_takes() -> None:
    """Half a character, NaN and markup in a value are shown as they are, and --json stays JSON."""
    assert json.loads(as_json({"a": "\ud83d", "b": float("nan"), "c": ODD})) == {
        "a": "\ud83d",
        "b": None,
        "c": ODD,
    }
    assert as_json({"c": ODD}).isascii()
    text = as_text([grid(("#row", "name"), [(1, "[red]x[/red]")]), facts({"path": "a" * 300})])
    assert "[red]x[/red]" in text
    assert "a" * 100 in text
