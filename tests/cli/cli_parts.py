"""The command line as a user has it who never set up Prefect."""

import os
import subprocess
import sys
from pathlib import Path

from prefect_ltx.cli.prefect_server import without_prefect

REQUEST = {
    "prompt": "Reference sheet: a cup. Generated video: it turns.",
    "image_url": "sheet.png",
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
}
NO_PREFECT = "import sys; sys.modules['prefect'] = None; from prefect_ltx.cli import main; main()"


def cli(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line as a user has it who never set up Prefect; importing Prefect fails."""
    return subprocess.run(
        [sys.executable, "-c", NO_PREFECT, *arguments],
        env=without_prefect(os.environ) | {"HOME": str(folder), "COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
