"""Proof that the simulation can fail: each patch in `mutants/` puts one real fault back, and some seed has to catch it.

    python tests/simulation/mutants.py [NAME …] [--histories 2000] [--jobs N]

A patch is against the repository's root. Its first lines, up to the first `---`, say what fault it is.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ROOMS = ("core", "blocks", "tasks", "flows", "deployments", "cli")


def mutated(patch: Path, folder: Path) -> Path:
    """A copy of the package with the patch applied, as a folder for PYTHONPATH.

    Raises:
        ValueError: the patch does not fit the code any more.
    """
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(patch)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"{patch.name} does not fit the code any more: {done.stderr.strip()}")
    package = folder / "path" / "prefect_ltx"
    package.mkdir(parents=True)
    for part in (folder / "core").iterdir():
        (package / part.name).symlink_to(part)
    for room in ROOMS[1:]:
        (package / room).symlink_to(folder / room)
    return package.parent


def caught(patch: Path, histories: int, jobs: int) -> tuple[bool, str]:
    """Whether some history catches it, and what was seen."""
    with tempfile.TemporaryDirectory(prefix="prefect-ltx-mutant-") as scratch:
        try:
            path = mutated(patch, Path(scratch))
        except ValueError as error:
            return False, str(error)
        done = subprocess.run(
            [
                sys.executable,
                HERE / "simulate.py",
                "--no-shrinking",
                f"--histories={histories}",
                f"--jobs={jobs}",
            ],
            env=os.environ | {"PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
    first = next((line for line in done.stdout.splitlines() if line.startswith("Seed ")), "")
    if done.returncode == 1 and first:
        return True, first
    return False, (done.stdout + done.stderr)[-400:] if done.returncode else f"{histories} histories hold"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    patches = sorted((HERE / "mutants").glob("*.patch"))
    if given.names:
        patches = [each for each in patches if each.stem in given.names]
    missed = 0
    for patch in patches:
        began = time.monotonic()
        found, what = caught(patch, given.histories, given.jobs)
        missed += not found
        seed = re.match(r"Seed (\d+): (\w+)", what)
        words = f"seed {seed[1]}, {seed[2].replace('_', ' ')}" if found and seed else what
        verdict = "caught" if found else "NOT CAUGHT"
        print(f"{verdict:10}  {patch.stem:40}  {words}  ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(patches) - missed} of {len(patches)} mutants caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
