"""Archiving over TLS, beside boto3: 20 files of 8 MB and one of 512 MB, to a server that forgets every byte.

Bars (issue 4): at least 1.0 of boto3's throughput in the same run, and less than 200 MB of memory above the idle
process. Each measurement is a process of its own; clients take turns, and the median of the rounds counts. boto3
runs with its own defaults, one file at a time and in eight threads; the faster of the two is compared with.
`--fast` (or `--short`) makes files of a tenth of the size, one round, and misses no bar.
"""

import asyncio
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from s3_sink import certificate

MB = 1_000_000
CLIENTS = ("prefect-ltx", "boto3", "boto3, 8 threads")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def resident() -> float:
    """MB of memory in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def peak() -> float:
    """The most MB ever in use by this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def with_archive(url: str, prefix: str, files: list[tuple[Path, str]], warm: Path) -> dict[str, float]:
    from prefect_ltx.archive import Archive

    async def run() -> dict[str, float]:
        async with Archive(f"s3://bucket/{prefix}", endpoint_url=url) as archive:
            await archive.put_file("warm", warm, sha256=hashlib.sha256(warm.read_bytes()).hexdigest())
            idle, start = resident(), time.perf_counter()
            await asyncio.gather(
                *(archive.put_file(path.name, path, sha256=sha256) for path, sha256 in files)
            )
            return {"seconds": time.perf_counter() - start, "memory": peak() - idle}

    return asyncio.run(run())


def with_boto3(
    url: str, prefix: str, files: list[tuple[Path, str]], warm: Path, threads: int
) -> dict[str, float]:
    import boto3

    client: Any = boto3.client("s3", endpoint_url=url)

    def put(path: Path) -> None:
        client.upload_file(str(path), "bucket", f"{prefix}/{path.name}")

    put(warm)
    idle, start = resident(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, [path for path, _ in files]))
    return {"seconds": time.perf_counter() - start, "memory": peak() - idle}


def child() -> None:
    """Measure one client on one set of files; the figures go to stdout."""
    asked = json.loads(sys.argv[2])
    files = [(Path(path), sha256) for path, sha256 in asked["files"]]
    where = (asked["url"], asked["prefix"], files, Path(asked["warm"]))
    client = asked["client"]
    if client == "prefect-ltx":
        figures = with_archive(*where)
    else:
        figures = with_boto3(*where, threads=8 if "threads" in client else 1)
    print(json.dumps(figures))


def make_files(folder: Path, scale: int) -> dict[str, list[tuple[str, str]]]:
    """The two sets, name to (path, sha256); bytes that do not compress."""

    def made(name: str, size: int) -> tuple[str, str]:
        path, digest = folder / name, hashlib.sha256()
        with path.open("wb") as file:
            for start in range(0, size, MB):
                piece = os.urandom(min(MB, size - start))
                digest.update(piece)
                file.write(piece)
        return str(path), digest.hexdigest()

    return {
        "20 x 8 MB": [made(f"clip{number}.mp4", 8 * MB // scale) for number in range(20)],
        "512 MB": [made("film.mp4", 512 * MB // scale)],
    }


def measure(
    ask: Callable[..., dict[str, float]], sets: dict[str, list[tuple[str, str]]], rounds: int
) -> bool:
    good = True
    for name, files in sets.items():
        size = sum(Path(path).stat().st_size for path, _ in files) / MB
        runs: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
        for number in range(rounds):
            for client in CLIENTS:
                runs[client].append(ask(client=client, files=files, prefix=f"{name}/{client}/{number}"))
        speed = {
            client: size / statistics.median(each["seconds"] for each in found)
            for client, found in runs.items()
        }
        memory = {client: max(each["memory"] for each in found) for client, found in runs.items()}
        for client in CLIENTS:
            print(f"{name:>10}  {client:<17} {speed[client]:6.0f} MB/s  {memory[client]:6.0f} MB above idle")
        ratio = speed["prefect-ltx"] / max(speed["boto3"], speed["boto3, 8 threads"])
        good &= ratio >= 1.0 and memory["prefect-ltx"] < 200
        print(f"{name:>10}  of boto3's best: {ratio:.2f} (bar 1.00), memory bar 200 MB")
    return good


def main() -> None:
    fast = "--fast" in sys.argv or "--short" in sys.argv
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as place:
        folder = Path(place)
        trusted = certificate(folder)
        sets = make_files(folder, 10 if fast else 1)
        (folder / "warm").write_bytes(b"warm")
        sink = Path(__file__).with_name("s3_sink.py")
        with subprocess.Popen(
            [sys.executable, str(sink), str(folder)], stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            url = f"https://127.0.0.1:{server.stdout.readline().strip()}"

            def ask(**what: Any) -> dict[str, float]:
                asked = json.dumps({"url": url, "warm": str(folder / "warm"), **what})
                done = subprocess.run(
                    [sys.executable, __file__, "--child", asked],
                    env=os.environ | KEYS | {"AWS_CA_BUNDLE": str(trusted)},
                    stdout=subprocess.PIPE,
                    check=True,
                )
                found: dict[str, float] = json.loads(done.stdout)
                return found

            try:
                good = measure(ask, sets, 1 if fast else int(os.environ.get("ROUNDS", "5")))
            finally:
                server.kill()
    print("bars held" if good else "BARS MISSED")
    sys.exit(0 if good or fast else 1)


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
