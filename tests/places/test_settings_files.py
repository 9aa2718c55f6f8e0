"""Settings where Prefect keeps settings: its files are read as Prefect reads them, and the doctor says which it was."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

READ = """
import json
from prefect_ltx.settings import Settings
found = Settings()
print(json.dumps([
    {name: str(getattr(found, name)) for name in Settings.model_fields if name in found.model_fields_set},
    found.fal_key and found.fal_key.get_secret_value(),
    Settings.origins(),
    "prefect" in __import__("sys").modules,
]))
"""


def read(folder: Path, code: str = READ, **environ: str) -> list[Any]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT", "FAL_"))  # the tests' own Prefect reads no profile
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder,
        env={**clean, "PREFECT_HOME": str(folder / "prefect"), "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def four_files(tmp_path: Path) -> Path:
    """Each kind of file sets one thing of its own, and all of them the budget."""
    (tmp_path / ".env").write_text("PREFECT_LTX_ACCOUNT=studio\n")
    (tmp_path / "prefect.toml").write_text('[ltx]\nbudget_usd = "7.50"\narchive = "pictures"\n')
    (tmp_path / "pyproject.toml").write_text("[tool.prefect.ltx]\nstop_factor = 4\nbudget_usd = 3\n")
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "profiles.toml").write_text(
        'active = "studio"\n[profiles.studio]\nPREFECT_LTX_BUDGET_USD = "1"\nPREFECT_LTX_LEASE_SECONDS = "150"\n'
        'FAL_KEY = "id:secret-of-the-profile"\n'
    )
    return tmp_path


def test_every_file_of_prefect_s_is_read_and_the_environment_wins(four_files: Path) -> None:
    """In Prefect's order: environment, .env, prefect.toml, pyproject.toml, profile; places are absolute."""
    values, key, origins, _ = read(four_files, PREFECT_LTX_HOME=str(four_files / "home"))
    assert (values["budget_usd"], values["account"], values["stop_factor"]) == ("7.50", "studio", "4")
    assert values["archive"] == str(four_files / "pictures")
    assert (float(values["lease_seconds"]), key) == (150, "id:secret-of-the-profile")
    profile = f"the Prefect profile in {four_files / 'prefect' / 'profiles.toml'}"
    assert origins == {
        "PREFECT_LTX_HOME": "the environment",
        "PREFECT_LTX_ACCOUNT": ".env",
        "PREFECT_LTX_ARCHIVE": "prefect.toml",
        "PREFECT_LTX_BUDGET_USD": "prefect.toml",
        "PREFECT_LTX_STOP_FACTOR": "pyproject.toml",
        "PREFECT_LTX_LEASE_SECONDS": profile,
        "FAL_KEY": profile,
    }
    values, key, origins, _ = read(four_files, PREFECT_LTX_BUDGET_USD="2", FAL_KEY="other:key")
    assert (values["budget_usd"], key) == ("2", "other:key")
    assert origins["PREFECT_LTX_BUDGET_USD"] == origins["FAL_KEY"] == "the environment"


def test_without_such_a_file_nothing_of_prefect_is_loaded(tmp_path: Path) -> None:
    """A command that needs no Prefect stays quick; a file of another tool is none that speaks of this package."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "ltx-trailer"\n')
    (tmp_path / "prefect.toml").write_text("[server]\n")
    _, _, origins, loaded = read(tmp_path)
    assert (origins, loaded) == ({}, False)


def test_the_doctor_says_where_each_setting_comes_from_and_shows_no_value(four_files: Path) -> None:
    """Each by its variable, with the file, the environment or the flag that set it."""
    code = """
import asyncio, json
from prefect_ltx.doctor.conflicts import check_settings
from prefect_ltx.doctor.places import check_places
from prefect_ltx.settings import Settings
found = [*check_places(Settings()), *asyncio.run(check_settings(Settings()))]
print(json.dumps([each.what for each in found]))
"""
    said = read(four_files, code, PREFECT_LTX_HOME=str(four_files / "home"))
    assert "from the environment: PREFECT_LTX_HOME" in said
    assert "from prefect.toml: PREFECT_LTX_ARCHIVE, PREFECT_LTX_BUDGET_USD" in said
    assert any("archive: " in each and each.endswith("(from prefect.toml)") for each in said), said
    assert "secret" not in " ".join(said)
