"""How full a batch keeps fal's slots, where jobs take time and not the time that was expected.

    python benchmarks/bench_slots.py [--rows 1000] [--slots 40] [--expected 18] [--short] [--json]

Each round gives every job a length of its own: `factor` times what the price suggests, varied by half. The ideal is
list scheduling: each job begins when the first slot is free, in the order in which they began. What the batch took is
divided by it. The embedded fal, the Prefect server and the work share this machine's cores. Exit code 1 where a row
failed or took more than 8 HTTP requests (a stream counts as one), or the flow's process took 300 MB or more; a ratio
beyond the goal is printed. `--short` is a small form of it for CI.
"""

import argparse
import asyncio
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from user import environment

GOAL, MOST_REQUESTS, MOST_MEGABYTES = 1.05, 8, 300
FACTORS = (1 / 3, 1.0, 3.0)


def request(number: int, sheet: str, seconds: float) -> dict[str, Any]:
    """One whose price suggests about `seconds` of run: 0.4 s a megapixel."""
    frames = 8 * max(1, round(seconds / 0.4 * 1_000_000 / (1280 * 704) / 8)) + 1
    return {
        "prompt": f"Reference sheet: a cup. Generated video: it turns, take {number}.",
        "image_url": sheet,
        "num_frames": frames,
        "resolution": {"width": 1280, "height": 704},
        "seed": number,
    }


def child(rows: int, slots: int, seconds: float, folder: Path) -> None:
    """The flow, in a process of its own; prints one line of JSON."""
    import resource

    from prefect_ltx.flows import generate_batch

    requests = [request(number, str(folder / "sheet.png"), seconds) for number in range(rows)]
    report = asyncio.run(
        generate_batch(
            requests, concurrency=slots, recipe="none", quality="off", name="bench", task_run_per_row_up_to=0
        )
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "wall": report.seconds,
        "counts": report.counts,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }
    print(json.dumps(found))


def ideal(lengths: list[float], slots: int) -> float:
    """Wall time of list scheduling."""
    free = [0.0] * slots
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def measured(rows: int, slots: int, seconds: float, factor: float, folder: Path, api: str) -> dict[str, Any]:
    from prefect_ltx.local import LocalFal

    home = folder / f"{factor:.2f}"
    home.mkdir()
    (home / "sheet.png").write_bytes((folder / "sheet.png").read_bytes())
    drawn = random.Random(rows)
    lengths = [factor * seconds * drawn.uniform(0.5, 1.5) for _ in range(rows)]
    renderer = "prefect_ltx.local.stored_clip:StoredClipRenderer"
    with LocalFal(renderer=renderer, concurrency=slots) as fal:
        for length in lengths:
            fal.faults.add("slow_run", value=length, times=1)
        environ = environment(fal.url, api, home)
        arguments = [sys.executable, __file__, "--child", "--rows", str(rows), "--slots", str(slots)]
        arguments += ["--expected", str(seconds), "--folder", str(home)]
        done = subprocess.run(arguments, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        best = ideal(lengths, slots)
        return found | {
            "factor": factor,
            "ideal": best,
            "ratio": found["wall"] / best,
            "requests_per_row": len(fal.log) / rows,
            "charges": len(fal.bill),
        }


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rows", type=int, default=1000)
    words.add_argument("--slots", type=int, default=40)
    words.add_argument("--expected", type=float, default=18.0, help="seconds that the price suggests")
    words.add_argument("--short", action="store_true", help="24 rows on 6 slots, one factor")
    words.add_argument("--json", action="store_true")
    words.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    words.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.child:
        child(given.rows, given.slots, given.expected, given.folder)
        return 0

    from prefect_ltx.cli.prefect_server import prefect_server
    from prefect_ltx.media import make_reference_sheet

    rows, slots, seconds = (24, 6, 3.0) if given.short else (given.rows, given.slots, given.expected)
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name) / "server") as api:
        folder = Path(name)
        asyncio.run(make_reference_sheet(folder / "sheet.png", width=448, height=256))
        factors = FACTORS[:1] if given.short else FACTORS
        rounds = [measured(rows, slots, seconds, factor, folder, api) for factor in factors]
    if given.json:
        print(json.dumps({"rows": rows, "slots": slots, "rounds": rounds}, indent=2))
    else:
        print(f"{rows} rows, {slots} slots, {seconds:g} s expected, {os.cpu_count()} cores")
        for each in rounds:
            print(
                f"  jobs {each['factor']:.2f} of the expectation: {each['wall']:7.2f} s, ideal {each['ideal']:7.2f}, "
                f"ratio {each['ratio']:.3f} (goal {GOAL})   {each['requests_per_row']:.2f} requests a row   "
                f"peak {each['peak_mb']:.0f} MB   {1000 * each['cpu'] / rows:.0f} ms CPU a row, start included"
            )
    good = all(
        each["counts"] == {"archived": rows}
        and each["charges"] == rows
        and each["requests_per_row"] <= MOST_REQUESTS
        and each["peak_mb"] < MOST_MEGABYTES
        for each in rounds
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
