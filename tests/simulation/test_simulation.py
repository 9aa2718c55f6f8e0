"""The simulation itself: that a seed is a story, that what it found stays mended, and that its faults are real."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def simulated(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / "simulate.py"), *arguments], capture_output=True, text=True, timeout=170
    )


def test_the_same_seed_gives_the_same_story_byte_for_byte() -> None:
    first, again = simulated("--seed", "3", "21"), simulated("--seed", "3", "21")
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr
    assert first.stdout.count("heals") == 2
    assert first.stdout == again.stdout


def test_what_it_once_found_is_mended() -> None:
    done = simulated("--regressions")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads((HERE / "regressions.json").read_text())) > 0


@pytest.mark.parametrize("arguments", [("--histories", "12", "--first", "500", "--jobs", "1")])
def test_histories_are_counted_with_what_happened_in_them(arguments: tuple[str, ...]) -> None:
    done = simulated(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 histories" in done.stdout
    assert "message" in done.stdout
