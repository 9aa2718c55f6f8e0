"""@fal-ai/client, unmodified, against the embedded fal: js/test.mjs does it, this runs it where it can."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from prefect_ltx.local import LocalFal

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent

pytestmark = pytest.mark.js


def _installed_in() -> Path:
    """The folder whose node_modules holds the client."""
    for home in (os.environ.get("FAL_JS_HOME"), REPOSITORY / ".js", HERE / "js"):
        if home and (Path(home) / "node_modules" / "@fal-ai" / "client").is_dir():
            return Path(home)
    pytest.skip("@fal-ai/client is not installed; `make test-js` does that and runs this")


def test_the_javascript_client_does_everything_it_can(clip_file: Path) -> None:
    """run, submit, subscribe by polling and by stream, cancel, uploads, errors, a proxy, a lost reply."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on PATH")
    home = _installed_in()
    with LocalFal(renderer="stored-clip") as fal:
        environment = {
            "PATH": os.environ["PATH"],
            "FAL_JS_HOME": str(home.absolute()),
            "LOCAL_FAL_URL": fal.url,
            "LOCAL_FAL_CLIP": str(clip_file),
        }
        ran = subprocess.run(
            [node, "--test-reporter=tap", str(HERE / "js" / "test.mjs")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "# fail 0" in ran.stdout
        assert "# pass 12" in ran.stdout
