"""What a large batch costs beside a bare script: wall time, CPU, memory and HTTP requests a row.

    python benchmarks/bench_batch.py [--rows 1000] [--concurrency 40] [--short] [--json]

Both make the same requests to an embedded fal that hands out one stored clip, so that orchestration is what is
measured, and both end with every video on this disk. The batch also checks every video frame by frame, keeps
its ledger and archive, and reports to a Prefect server. The server of fal's protocol, the Prefect server and
the work share this machine's cores. Exit code 1 where a row failed, a row took more than 8 HTTP requests, or the
flow's process took 400 MB or more; `--short` is a small form of it for CI. No time decides the exit code.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from user import environment

PROMPT = "Reference sheet: a cup. Generated video: it turns, take {}."
MOST_REQUESTS, MOST_MEGABYTES, GOAL = 8, 400, 1.5


def request(number: int, sheet: str) -> dict[str, Any]:
    return {
        "prompt": PROMPT.format(number),
        "image_url": sheet,
        "num_frames": 9,
        "resolution": {"width": 256, "height": 144},
        "seed": number,
    }


def used() -> dict[str, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": own.ru_utime + own.ru_stime, "peak_mb": own.ru_maxrss / 1024}


def child_batch(rows: int, concurrency: int, folder: Path) -> None:
    """The flow, in a process of its own; prints one line of JSON."""
    from prefect_ltx.flows import generate_batch

    requests = [request(number, str(folder / "sheet.png")) for number in range(rows)]
    before, began = used(), time.perf_counter()
    # A few rows are to be measured as many are.
    report = asyncio.run(
        generate_batch(
            requests,
            concurrency=concurrency,
            recipe="none",
            quality="off",  # it has a price of its own: docs/quality.md
            name="bench",
            task_run_per_row_up_to=0,
        )
    )
    wall, after = time.perf_counter() - began, used()
    print(
        json.dumps(
            {
                "wall": wall,
                "rows_wall": report.seconds,
                "cpu": after["cpu"] - before["cpu"],
                "peak_mb": after["peak_mb"],
            }
            | {"counts": report.counts}
        )
    )


def child_bare(rows: int, concurrency: int, folder: Path) -> None:
    """What a person writes: fal's own client, a semaphore, and the downloads."""
    import fal_client.client as module
    import httpx

    url = os.environ["PREFECT_LTX_FAL_URL"]
    module.RUN_URL_FORMAT, module.QUEUE_URL_FORMAT = f"{url}/run/", f"{url}/"
    module.REST_URL = module.CDN_URL = url

    async def main() -> int:
        client = module.AsyncClient(key="me:secret")
        turn, done = asyncio.Semaphore(concurrency), 0
        sheet = await client.upload_file(str(folder / "sheet.png"))
        async with httpx.AsyncClient() as web:

            async def one(number: int) -> None:
                nonlocal done
                async with turn:
                    output = await client.subscribe(
                        "fal-ai/ltx-2.3-quality/ingredient", request(number, sheet)
                    )
                answer = await web.get(output["video"]["url"])
                answer.raise_for_status()
                (folder / f"{number}.mp4").write_bytes(answer.content)
                done += 1

            await asyncio.gather(*(one(number) for number in range(rows)))
        return done

    before, began = used(), time.perf_counter()
    done = asyncio.run(main())
    after = used()
    wall = time.perf_counter() - began
    print(
        json.dumps(
            {
                "wall": wall,
                "rows_wall": wall,
                "cpu": after["cpu"] - before["cpu"],
                "peak_mb": after["peak_mb"],
            }
            | {"counts": {"archived": done}}
        )
    )


def measured(kind: str, rows: int, concurrency: int, folder: Path, api: str) -> dict[str, Any]:
    """Run one of the two children against a new embedded fal, and count what arrives there."""
    from prefect_ltx.local import LocalFal

    home = folder / kind
    home.mkdir()
    (home / "sheet.png").write_bytes((folder / "sheet.png").read_bytes())
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as fal:
        fal.faults.add("concurrency", value=40)
        environ = environment(fal.url, api, home)
        arguments = [sys.executable, __file__, "--child", kind, "--rows", str(rows)]
        arguments += ["--concurrency", str(concurrency), "--folder", str(home)]
        cpu = used()["cpu"]
        done = subprocess.run(arguments, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        kinds = Counter(
            "submit"
            if method == "POST" and "/ltx-2.3-quality/" in path
            else "status"
            if path.endswith("/status")
            else "stream"
            if path.endswith("/status/stream")
            else "result"
            if "/requests/" in path
            else "download"
            if method == "GET" and "/files/" in path
            else "other"
            for method, path, _ in fal.log
        )
        return found | {
            "requests": dict(kinds),
            "requests_per_row": sum(kinds.values()) / rows,
            "charges": len(fal.bill),
            "server_cpu": used()["cpu"] - cpu,
        }


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rows", type=int, default=1000)
    words.add_argument("--concurrency", type=int, default=40)
    words.add_argument("--short", action="store_true", help="60 rows")
    words.add_argument("--json", action="store_true")
    words.add_argument("--child", choices=("batch", "bare"), help=argparse.SUPPRESS)
    words.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.child:
        (child_batch if given.child == "batch" else child_bare)(given.rows, given.concurrency, given.folder)
        return 0

    from prefect_ltx.cli.prefect_server import prefect_server
    from prefect_ltx.media import make_reference_sheet

    rows = 60 if given.short else given.rows
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name) / "server") as api:
        folder = Path(name)
        asyncio.run(make_reference_sheet(folder / "sheet.png", width=448, height=256))
        found = {kind: measured(kind, rows, given.concurrency, folder, api) for kind in ("bare", "batch")}
    ratio = found["batch"]["wall"] / found["bare"]["wall"]
    if given.json:
        print(json.dumps(found | {"rows": rows, "ratio": ratio}, indent=2))
    else:
        print(f"{rows} rows, {given.concurrency} at once, {os.cpu_count()} cores")
        for kind, each in found.items():
            print(
                f"  {kind:6} wall {each['wall']:7.2f} s   {1000 * each['cpu'] / rows:6.1f} ms CPU a row   "
                f"{each['requests_per_row']:.2f} requests a row   peak {each['peak_mb']:.0f} MB   {each['requests']}"
            )
        print(f"  ratio of wall times {ratio:.2f} (goal {GOAL})")
    batch = found["batch"]
    good = (
        batch["counts"] == {"archived": rows}
        and batch["charges"] == rows
        and batch["requests_per_row"] <= MOST_REQUESTS
        and batch["peak_mb"] < MOST_MEGABYTES
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
