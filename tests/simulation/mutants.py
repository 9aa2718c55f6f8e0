"""Proof that the simulation can fail: each patch in `mutants/` puts one real fault back, and some seed has to catch it.

python tests/simulation/mutants.py [NAME …] [--histories N] [--jobs N] [--known] [--write]

A patch is against the repository's root; its first line says what fault it is. It is applied to a copy of the package,
the seed that caught it last time (`caught.json`) is played first, then all from 1. A seed catches it if an invariant
breaks with the fault and none does without.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ROOMS = ("core", "blocks", "tasks", "flows", "deployments", "cli")
CAUGHT = HERE / "caught.json"
_CHUNK = 50
_LONGEST_SECONDS = 1800


class DoesNotFit(Exception):
    """A patch is not of this code any more, or what it makes cannot be played."""


@contextmanager
def copy_of_the_package(patch: Path | None) -> Iterator[Path]:
    """A copy of the package, with a patch applied, as a folder for PYTHONPATH.

    Raises:
        DoesNotFit: the patch does not apply.
    """
    with tempfile.TemporaryDirectory(prefix="prefect-ltx-mutant-") as scratch:
        folder = Path(scratch)
        for room in ROOMS:
            shutil.copytree(ROOT / room, folder / room)
        if patch is not None:
            apply(patch, folder)
        # The rooms become one package by a mapping; links do the same (see `.types` in the Makefile).
        package = folder / "path" / "prefect_ltx"
        package.mkdir(parents=True)
        for part in (folder / "core").iterdir():
            if part.name != "__pycache__":
                (package / part.name).symlink_to(part)
        for room in ROOMS[1:]:
            (package / room).symlink_to(folder / room)
        yield package.parent


def apply(patch: Path, folder: Path, *options: str) -> None:
    """Apply a patch to what is in a folder; `--check` as an option only tries.

    Raises:
        DoesNotFit: it does not apply.
    """
    command = ["git", "apply", "--whitespace=nowarn", *options, str(patch)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DoesNotFit(f"{patch.name} does not fit the code any more: {done.stderr.strip()}")


def first_broken(path: Path, first: int, count: int) -> tuple[int, str] | None:
    """The first seed of so many whose history breaks an invariant, and how; with the package at `path`.

    Raises:
        DoesNotFit: it cannot be played.
    """
    done = subprocess.run(
        [sys.executable, str(HERE / "mutants.py"), "--play", str(first), str(count)],
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_SECONDS,
    )
    if done.returncode:
        raise DoesNotFit(f"it cannot be played: {done.stderr.strip()[-400:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    if not Path(said["package"]).is_relative_to(path):
        raise DoesNotFit(f"{said['package']} was played in place of the copy")
    return (said["seed"], said["broken"]) if "seed" in said else None


def play(first: int, count: int) -> int:
    """The other side of `first_broken`, with the package that PYTHONPATH names."""
    from simulate import play as play_one

    import prefect_ltx.runtime

    said: dict[str, object] = {"package": prefect_ltx.runtime.__file__}
    for seed in range(first, first + count):
        broken = [line for line in play_one(seed).broken if not line.startswith("the simulation itself")]
        if broken:
            said |= {"seed": seed, "broken": broken[0]}
            break
    print("\n" + json.dumps(said))
    return 0


def caught_by(patch: Path, known: int | None, histories: int, whole: Path) -> tuple[int, str] | None:
    """The seed that catches a mutant, and the invariant that it breaks; `whole` is a copy without any fault.

    Raises:
        DoesNotFit: see there.
    """
    ranges = [(known, 1)] if known is not None else []
    ranges += [(first, min(_CHUNK, histories + 1 - first)) for first in range(1, histories + 1, _CHUNK)]
    with copy_of_the_package(patch) as path:
        for first, count in ranges:
            while count > 0 and (found := first_broken(path, first, count)) is not None:
                if first_broken(whole, found[0], 1) is None:
                    return found
                count -= found[0] + 1 - first
                first = found[0] + 1
    return None


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2, help="how many mutants side by side")
    parser.add_argument("--known", action="store_true", help="only replay the seeds that caught them")
    parser.add_argument("--write", action="store_true", help="keep what was found in caught.json")
    parser.add_argument("--play", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.play:
        return play(*given.play)
    patches = sorted((HERE / "mutants").glob("*.patch"))
    if unknown := set(given.names) - {each.stem for each in patches}:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    patches = [each for each in patches if not given.names or each.stem in given.names]
    caught = json.loads(CAUGHT.read_text())
    began = time.monotonic()

    with copy_of_the_package(None) as whole, ThreadPoolExecutor(given.jobs) as pool:

        def tried(patch: Path) -> tuple[int, str] | str:
            known = caught.get(patch.stem, {}).get("seed")
            try:
                found = caught_by(patch, known, 0 if given.known else given.histories, whole)
            except (DoesNotFit, subprocess.TimeoutExpired) as error:
                return str(error)
            return found or f"nothing breaks in {given.histories} histories"

        missed = 0
        for patch, found in zip(patches, pool.map(tried, patches), strict=True):
            if isinstance(found, str):
                missed += 1
                print(f"NOT CAUGHT  {patch.stem}: {found}", flush=True)
                continue
            seed, broken = found
            invariant = broken.partition(":")[0]
            caught[patch.stem] = {"seed": seed, "invariant": invariant}
            print(f"{patch.stem:42} seed {seed:5}  {invariant.replace('_', ' ')}", flush=True)
    if given.write:
        CAUGHT.write_text(json.dumps(dict(sorted(caught.items())), indent=1) + "\n")
    seconds = time.monotonic() - began
    print(f"{len(patches) - missed} of {len(patches)} mutants caught in {seconds:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
