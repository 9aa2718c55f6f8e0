"""The simulation itself: that a seed is a story, that what it found stays mended, and that its faults are real."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trouble import FAULT_KINDS

from prefect_ltx.local.fault_table import KNOWN

HERE = Path(__file__).parent


def simulated(*arguments: str, hashes: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HERE / "simulate.py"), *arguments],
        env=os.environ | {"PYTHONHASHSEED": str(hashes)},
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_the_same_seed_gives_the_same_story_byte_for_byte() -> None:
    """In two processes whose sets and dicts of strings are ordered differently."""
    first, again = (simulated("--seed", "3", "21", hashes=number) for number in (1, 2))
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
    counted = {line[8:].strip() for line in done.stdout.splitlines() if line[:8].strip().isdigit()}
    assert counted >= FAULT_KINDS


_NOT_DRAWN = {
    "the network of the simulation does it itself": "edge_error slow_answer lost_reply accept_then_timeout "
    "accept_then_502 accept_then_cut_body slow_accept reject_reset read_reset slow_download endless_download",
    "the listing, the result and a number are bent by knobs of their own": "odd_answer",
    "every job makes the same small clip": "control_area pad_frames snap sheet_lead_in megapixel_cap concurrency",
    "overbill and absurd_bill stand for every bill beyond its bound": "bill_padded_frames bill_requested "
    "billed_unit_price fallback unit_price",
}


def test_every_fault_knob_of_the_embedded_fal_is_in_the_world_or_has_a_reason_not_to_be() -> None:
    without = {name for names in _NOT_DRAWN.values() for name in names.split()}
    drawn = {kind.removeprefix("fal ") for kind in FAULT_KINDS if kind.startswith("fal ")} - {"long jobs"}
    assert drawn | without == set(KNOWN)
    assert not drawn & without
