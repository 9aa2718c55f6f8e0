"""The command line as a user starts it, with Prefect and without."""

import os
import subprocess
from pathlib import Path

from forked import PYTHON, run_forked, run_without_prefect

from prefect_ltx.cli.prefect_server import without_prefect

REQUEST = {
    "prompt": "Reference sheet: a cup. Generated video: it turns.",
    "image_url": "sheet.png",
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
}


def cli(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line as a user has it who never set up Prefect; importing Prefect fails."""
    env = without_prefect(os.environ) | {"HOME": str(folder), "COLUMNS": "200"}
    return run_without_prefect("prefect_ltx.cli", *arguments, env=env, cwd=folder)


def with_prefect(
    *arguments: str, cwd: Path | None = None, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """The command line of a user of the Prefect server that `environ` names."""
    command, env = ("-m", "prefect_ltx.cli", *arguments), without_prefect(os.environ) | environ
    return run_forked(*command, env=env, cwd=cwd)


def process(*arguments: str, cwd: Path | None = None, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The command line in a process that has imported nothing before: what Prefect logs, and whether there is a server
    at all, is settled before Prefect is imported.
    """
    return subprocess.run(
        [PYTHON, "-m", "prefect_ltx.cli", *arguments],
        env=without_prefect(os.environ) | environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
