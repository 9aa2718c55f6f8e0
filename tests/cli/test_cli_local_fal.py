"""`prefect-ltx local-fal` as a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "prefect_ltx.cli", "local-fal", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """The first line on stdout is `ready URL`, the URL answers, and a signal ends it with exit code 0."""
    server = started("--data", str(tmp_path / "fal"), "--port", "0", "--render-seconds", "0.5")
    try:
        assert server.stdout is not None
        word, url = server.stdout.readline().split()
        assert word == "ready"
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(url, timeout=10).status_code < 500
        server.send_signal(number)
        rest, _ = server.communicate(timeout=30)
    finally:
        server.kill()
    assert server.returncode == 0
    assert rest == ""


def test_unusable_faults_file_is_one_line(tmp_path: Path) -> None:
    """A faults file that is missing, or names an unknown fault, stops it with one line."""
    bad = tmp_path / "faults.json"
    bad.write_text('{"no_such_fault": 1}')
    for path in (bad, tmp_path / "absent.json"):
        server = started("--data", str(tmp_path / "fal"), "--faults", str(path))
        out, err = server.communicate(timeout=60)
        assert (server.returncode, out) == (1, "")
        (line,) = err.splitlines()
        assert path.name in line
