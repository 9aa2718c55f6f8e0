"""A Prefect server of the tests' own, and what they ask of it."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from forked import programs, run_forked

from prefect_ltx.cli.prefect_server import without_prefect

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


BUSY = 503


class _Patient(httpx.HTTPTransport):
    """A server on SQLite that a worker and a scheduler use too says that it is busy, or is silent for a minute while
    it waits for its turn; Prefect's client asks again, and so does this one where it only asks.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(60):
            try:
                response = super().handle_request(request)
            except httpx.ReadTimeout:
                if not request.url.path.endswith("/filter"):
                    raise
                continue
            if response.status_code != BUSY:
                break
            response.close()
            time.sleep(0.5)
        return response


class Server:
    """A Prefect server of the tests' own: its API, and programs that use it."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home
        self.api = httpx.Client(base_url=url, timeout=60, transport=_Patient())

    def environ(self, **more: str) -> dict[str, str]:
        return (
            without_prefect(os.environ)
            | {
                "PREFECT_API_URL": self.url,
                "PREFECT_HOME": str(self.home),
                "PREFECT_WORKER_QUERY_SECONDS": "1",
            }
            | more
        )

    def run(self, *arguments: str, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
        """`python -m …` to its end."""
        return run_forked("-m", *arguments, env=self.environ(**more), cwd=cwd)

    def deployments(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.api.post("/deployments/filter", json={}).json()}

    def automations(self) -> dict[str, dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.post("/automations/filter", json={}).json()
        named = {each["name"]: each for each in found}
        assert len(named) == len(found), "two automations of one name"
        return named

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        body = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found: list[dict[str, Any]] = self.api.post("/flow_runs/filter", json=body).json()
        return found

    def start(self, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A run of the deployment, as its form starts one."""
        path = f"/deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        answer = self.api.post(path, json={"parameters": parameters})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def ended_run(
        self, deployment: str, fits: Callable[[dict[str, Any]], bool], seconds: float = 240
    ) -> dict[str, Any]:
        """The first run of the deployment that `fits`, once it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            runs = [run for run in self.runs(deployment) if fits(run)]
            for run in runs:
                if run["state_type"] in ENDED:
                    return run
            time.sleep(0.3)
        raise AssertionError(f"no run of {deployment} ended within {seconds} s: {runs}")

    @contextmanager
    def worker(self, log: Path, script: Path, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A worker as the script starts it, with this test's environment, stopped at the end."""
        path = os.pathsep.join([str(programs()), os.environ["PATH"]])
        with log.open("wb") as sink:
            process = subprocess.Popen(
                ["sh", str(script)],
                env=self.environ(**more, PATH=path),
                cwd=log.parent,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)
