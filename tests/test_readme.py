"""The README is true: its example runs, and the tables of the pages it leads to list what there is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import submits

from prefect_ltx.cli import app
from prefect_ltx.cli.frame import DEBUG_VARIABLE
from prefect_ltx.cli.prefect_server import without_prefect
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()


def test_the_two_commands_are_targets_and_ci_runs_the_second() -> None:
    """`make demo` and `make test` exist, stand in the README, and CI calls the latter."""
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert re.search(rf"^make {target} ", README, re.MULTILINE)
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_every_command_is_in_the_table() -> None:
    """The table has every command of the program."""
    names = [each.name for each in app.registered_commands] + [each.name for each in app.registered_groups]
    assert names
    assert [name for name in names if f"`prefect-ltx {name}" not in COMMANDS] == []


def test_every_setting_is_in_the_table() -> None:
    """The table has every setting that is read from the environment, and no other; the README names no unknown one."""
    known = {f"PREFECT_LTX_{name.upper()}" for name in Settings.model_fields if name != "fal_key"}
    assert set(_variables(SETTINGS)) == known | {DEBUG_VARIABLE}
    assert set(_variables(README)) <= known
    assert "`FAL_KEY`" in SETTINGS


def _variables(text: str) -> list[str]:
    return re.findall(r"PREFECT_LTX_[A-Z0-9_]+", text)


def test_the_front_door_is_short() -> None:
    """The README leads on instead of holding everything: under 120 lines, and every page that it names is there."""
    assert len(README.splitlines()) < 120
    pages = re.findall(r"\]\(([a-zA-Z_./-]+)\)", README)
    assert len(pages) > 15
    assert [page for page in pages if not (ROOT / page).exists()] == []


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_example_runs_and_its_second_run_sends_nothing(
    fal: LocalFal, ltx_env: Path, media_folder: Path, prefect_server: None
) -> None:
    """The README's program, as it stands there, makes a video; run again, it gives it back."""
    from prefect.settings import PREFECT_API_URL

    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copy(media_folder / "clip.mp4", ltx_env / "dance.mp4")
    environ = without_prefect(os.environ) | {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(ltx_env / "prefect"),
    }
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environ,
            cwd=ltx_env,
            capture_output=True,
            text=True,
            check=True,
        )
        .stdout.strip()
        .rpartition(" ")
        for _ in range(2)
    ]
    assert [reused for *_, reused in said] == ["False", "True"]
    assert said[0][0] == said[1][0]
    assert len(fal.bill) == submits(fal) == 1
