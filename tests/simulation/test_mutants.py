"""That the mutants are faults of today's code, and that the simulation still catches some of them."""

import json
import subprocess
import sys
from pathlib import Path

from mutants import CAUGHT, ROOT, apply

HERE = Path(__file__).parent
PATCHES = sorted((HERE / "mutants").glob("*.patch"))
REPLAYED = ("classic-no-unique-key", "classic-manifest-first")
"""Of those that `make mutants` plays all: one that pays twice, and one that loses bytes."""


def test_every_mutant_applies_says_what_it_is_and_has_been_caught() -> None:
    assert len(PATCHES) >= 25
    for patch in PATCHES:
        assert patch.read_text().startswith("# "), patch.name
        apply(patch, ROOT, "--check")
    assert {patch.stem for patch in PATCHES} == set(json.loads(CAUGHT.read_text()))


def test_a_seed_that_caught_a_mutant_catches_it_again() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "mutants.py"), *REPLAYED, "--histories", "100"],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
