"""Workers that can be killed with everything they started, and the files that deploy a batch to them."""

import os
import signal
import subprocess
from pathlib import Path

import yaml
from forked import PYTHON, run_forked

from prefect_ltx.cli.prefect_server import without_prefect


def descendants(pid: int) -> list[int]:
    """Every process below `pid`: a worker's flow runs are in sessions of their own, so a group is not enough."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


class Worker:
    """A process worker of the pool `ltx`, one flow run at a time."""

    def __init__(self, name: str, environ: dict[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._environ = environ
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                [
                    *(PYTHON, "-m", "prefect", "worker", "start", "--pool", "ltx"),
                    *("--name", self.name, "--limit", "1"),
                ],
                env=self._environ,
                cwd=self._folder,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )

    def is_at_work(self) -> bool:
        """Whether a flow run's process is below it."""
        assert self._process is not None
        return bool(descendants(self._process.pid))

    def kill(self) -> int:
        """SIGKILL for the worker and all that it started, as when a machine goes; how many flow processes."""
        assert self._process is not None
        below = descendants(self._process.pid)
        for pid in (self._process.pid, *below):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        return len(below)


def prefect(environ: dict[str, str], folder: Path, *arguments: str) -> None:
    """Run a Prefect command as a user would."""
    done = run_forked("-m", "prefect", *arguments, env=environ, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def user_of(api: str, home: Path, ltx: dict[str, str]) -> dict[str, str]:
    """The environment of a worker of that Prefect server."""
    return {
        **without_prefect(os.environ),
        **ltx,
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }


def deploy_batch(environ: dict[str, str], folder: Path, batch: Path, *, every: int, concurrency: int) -> None:
    """The batch flow on the pool `ltx`, with the schedule that goes on with it (docs/distributed.md)."""
    file = folder / "prefect.yaml"
    deployment = {
        "name": "nightly",
        "entrypoint": "prefect_ltx.flows:generate_batch",
        "work_pool": {"name": "ltx"},
        "parameters": {
            "source": str(batch),
            "name": "chaos",
            "concurrency": concurrency,
            "recipe": "none",
            "seed_scope": "chaos",
        },
        "schedules": [{"slug": "go-on", "interval": every}],
    }
    file.write_text(yaml.safe_dump({"name": "chaos", "pull": [], "deployments": [deployment]}))
    prefect(environ, folder, "work-pool", "create", "ltx", "--type", "process")
    prefect(environ, folder, "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
