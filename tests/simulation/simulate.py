"""Play many histories, and show the first that breaks an invariant; `make simulate`.

python tests/simulation/simulate.py [--histories N] [--first SEED] [--seed SEED] [--jobs N] [--seconds N]
"""

import argparse
import gc
import json
import math
import os
import sys
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chance import Chance
from history import History
from invariants import broken
from machines import DISKS
from material import FOLDER
from trouble import FAULT_KINDS

CHUNK = 5
ENOUGH = 600
"""In so many histories every kind of fault has to have occurred."""
_installed = False


@dataclass
class Outcome:
    """How one history ended."""

    seed: int
    broken: list[str]
    happened: dict[str, str]
    story: list[str] = field(default_factory=list)


def play(
    seed: int,
    *,
    telling: bool = False,
    without: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Outcome:
    """One history, from its seed."""
    global _installed
    if not _installed:
        DISKS.install()
        gc.disable()
        warnings.simplefilter("ignore")
        _installed = True
    if seed % 20 == 0:
        gc.collect()
        if not gc.get_freeze_count():
            gc.freeze()  # modules and what is compiled are never garbage
    chance = Chance(seed, without=without, only=only)
    history = History(chance, telling=telling)
    try:
        snapshot = history.play()
    except Exception as error:
        if telling:
            import traceback

            traceback.print_exc()
        return Outcome(
            seed,
            [f"the simulation itself: {type(error).__name__}: {error}"],
            chance.happened,
            history.world.story,
        )
    place = str(history.world.folder)  # it is the runner's, and never the same
    lines = [line.replace(place, "...") for line in broken(snapshot)]
    return Outcome(seed, lines, chance.happened, history.world.story)


def _some(seeds: range) -> list[Outcome]:
    return [play(seed) for seed in seeds]


def many(first: int, count: int, jobs: int, seconds: float | None = None) -> Iterator[Outcome]:
    """So many histories, in the order of their seeds; after so many seconds none is begun."""
    until = math.inf if seconds is None else time.monotonic() + seconds
    chunks = deque(range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK))
    if jobs <= 1:
        while chunks and time.monotonic() < until:
            yield from _some(chunks.popleft())
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[list[Outcome]]] = deque()
        try:
            while chunks or waiting:
                if time.monotonic() >= until:
                    chunks.clear()
                while chunks and len(waiting) < jobs + 1:
                    waiting.append(pool.submit(_some, chunks.popleft()))
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def shrunk(outcome: Outcome) -> tuple[Outcome, list[str]]:
    """The same violation with as few faults as will do, and their names: leave out what is not needed."""
    names = sorted(outcome.happened)
    wanted = {line.partition(":")[0] for line in outcome.broken}

    def fails(kept: list[str]) -> bool:
        found = play(outcome.seed, only=kept)
        return bool(wanted & {line.partition(":")[0] for line in found.broken})

    if not fails(names):
        return outcome, names  # it needs what no fault is: the order in which things ran
    size = max(1, len(names) // 2)
    while size:
        at = 0
        while at < len(names):
            fewer = names[:at] + names[at + size :]
            if fails(fewer):
                names = fewer
            else:
                at += size
        size //= 2
    return play(outcome.seed, only=names, telling=True), names


def show(found: tuple[Outcome, list[str]]) -> None:
    """The shrunk history, as a person reads it."""
    outcome, names = found
    print(f"\nThe history of seed {outcome.seed} with as little trouble as will do ({len(names)} faults):")
    for name in names:
        print(f"  {name}")
    print("\n".join(outcome.story))
    print("\n".join(outcome.broken))
    print(f"\nReplay it with: make simulate SEED={outcome.seed}")


def regressions() -> int:
    """Play what failed once."""
    failed = 0
    for entry in json.loads((Path(__file__).parent / "regressions.json").read_text()):
        outcome = play(entry["seed"], only=entry["only"])
        if outcome.broken:
            failed += 1
            print(f"Seed {outcome.seed} again: {entry['was']}\n    " + "\n    ".join(outcome.broken))
    return 1 if failed else 0


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=300)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, nargs="+", help="tell these histories")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, help="begin no more histories after so many")
    parser.add_argument(
        "--keep-going", action="store_true", help="show every broken history, not only the first"
    )
    parser.add_argument("--no-shrinking", action="store_true", help="stop at the first broken history")
    parser.add_argument("--regressions", action="store_true", help="play the histories that once failed")
    given = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="prefect-ltx-simulation-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    ) as folder:
        os.environ[FOLDER] = folder
        return _as_asked(given)


def _as_asked(given: argparse.Namespace) -> int:
    if given.seed is not None:
        told = [play(seed, telling=True) for seed in given.seed]
        for outcome in told:
            print("\n".join(outcome.story))
            print("\n".join(outcome.broken) or "Every invariant holds.")
        return 1 if any(outcome.broken for outcome in told) else 0
    if given.regressions:
        return regressions()
    began = time.monotonic()
    kinds: Counter[str] = Counter()
    failed = broke = played = 0
    for outcome in many(given.first, given.histories, given.jobs, given.seconds):
        played += 1
        kinds.update(set(outcome.happened.values()))
        if outcome.broken:
            failed = broke = broke + 1
            print(f"Seed {outcome.seed}: " + "\n    ".join(outcome.broken), flush=True)
            if not given.keep_going:
                if not given.no_shrinking:
                    show(shrunk(outcome))
                return 1
    seconds = time.monotonic() - began
    for kind in sorted(FAULT_KINDS | kinds.keys()):
        print(f"  {kinds[kind]:6}  {kind}")
    if (missing := sorted(FAULT_KINDS - kinds.keys())) and played >= ENOUGH:
        failed += 1
        print(f"Never in {played} histories: {', '.join(missing)}")
    if unknown := sorted(kinds.keys() - FAULT_KINDS):
        failed += 1
        print(f"Not in the list of kinds: {', '.join(unknown)}")
    print(f"{played} histories in {seconds:.0f} s ({played / seconds:.1f} a second), {broke} broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
