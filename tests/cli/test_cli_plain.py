"""Without a Prefect server the command line does the same work by itself, and says so in one line."""

import json
import os
from pathlib import Path

import pytest
from cli_parts import REQUEST, cli
from support import submits

from prefect_ltx.cli import plain
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal


@pytest.fixture
def folder(ltx_env: Path, media_folder: Path) -> Path:
    (ltx_env / "sheet.png").write_bytes((media_folder / "sheet.png").read_bytes())
    return ltx_env


def test_generate_pays_once_without_prefect(fal: LocalFal, folder: Path) -> None:
    """An archived video, one charge, and the same again for nothing; that there is no server is one line."""
    (folder / "request.json").write_text(json.dumps(REQUEST | {"seed": 7}))
    found = []
    for _ in range(2):
        done = cli(folder, "generate", "request.json", "--tag", "trial", "--recipe", "none", "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(plain.NOTICE) == 1
        found.append(json.loads(done.stdout))
    assert [each["reused"] for each in found] == [False, True]
    assert Path(found[0]["video"]).is_file()
    assert (submits(fal), len(fal.bill)) == (1, 1)
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        (row,) = ledger.find(tag="trial")
    assert row.state is State.ARCHIVED


def test_a_batch_is_made_without_prefect(fal: LocalFal, folder: Path) -> None:
    """Each row has its own end, rows that are equal share one video, and the exit code says whether all succeeded."""
    rows = [REQUEST | {"seed": 1}, REQUEST | {"seed": 2}, REQUEST | {"seed": 1}]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    fal.faults.add("job_422")
    done = cli(folder, "batch", "rows.jsonl", "--recipe", "none", "--concurrency", "1", "--json")
    assert done.returncode == 1, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)["rows"]] == ["failed", "archived", "failed"]
    done = cli(folder, "batch", "rows.jsonl", "--recipe", "none", "--json", "--report", "ends.csv")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["status"] for row in report["rows"]] == ["archived", "reused", "archived"]
    assert (folder / "ends.csv").read_text("utf-8-sig").count("archived") == 2
    assert len(fal.bill) == 2


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("prefect.toml", 'api.url = "http://127.0.0.1:4200/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://127.0.0.1:4200/api"\n'),
        (".env", 'export PREFECT_API_URL="http://127.0.0.1:4200/api"\n'),
        (
            "home/profiles.toml",
            'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://127.0.0.1:4200/api"\n',
        ),
    ],
)
def test_wherever_prefect_keeps_its_settings_they_count(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is named in the environment, a profile or a file of the folder is used."""
    for name in [*os.environ]:
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert not plain.is_prefect_configured()
    (tmp_path / file).write_text(text)
    assert plain.is_prefect_configured()


def test_a_profile_without_settings_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that cannot be read, and an active profile that is empty, are no server."""
    monkeypatch.chdir(tmp_path)
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "profiles.toml").write_text('active = "ephemeral"\n[profiles.ephemeral]\n')
    (tmp_path / "prefect.toml").write_text("not toml at all = [")
    assert not plain.is_prefect_configured()


def test_plan_and_run_read_a_file_alike(fal: LocalFal, folder: Path) -> None:
    """E11: what `plan` and `batch --plan` accept, `batch` runs; what one refuses, all refuse, in the same words."""
    rows = [
        REQUEST | {"id": "one", "tags": ["client:acme", "night"], "seed": 1, "num_frames": "9"},
        {**REQUEST, "id": 2, "tags": "night", "seed": 2.0, "num_frames": 9.0, "resolution": "256x128"},
    ]
    (folder / "good.json").write_text(json.dumps(rows))
    wrong: list[dict[str, object]] = [
        {"seed": "1.23E+12"},
        {"seed": 2**70},
        {"num_frames": "many"},
        {"prompt": "\ud800"},
        {"id": True},
        {"num_framez": 9},
        {"resolution": "wide"},
        {"image_url": "gs://bucket/sheet.png"},
    ]
    (folder / "bad.json").write_text(json.dumps([rows[0] | each | {"seed": 9} | each for each in wrong]))
    ways = (("plan",), ("batch", "--plan"), ("batch", "--recipe", "none"))
    refused = [cli(folder, command, "bad.json", *options, "--json") for command, *options in ways]
    assert [each.returncode for each in refused] == [1, 1, 1]
    told = [json.loads(each.stdout)["problems"] for each in refused]
    assert told[0] == told[1] == told[2]
    assert {each["where"] for each in told[0]} == {f"row {number}" for number in range(1, len(wrong) + 1)}
    assert submits(fal) == 0
    taken = [cli(folder, command, "good.json", *options, "--json") for command, *options in ways]
    assert [each.returncode for each in taken] == [0, 0, 0], [each.stderr for each in taken]
    plan, again, made = (json.loads(each.stdout) for each in taken)
    assert plan["plan"]["to_send"] == again["plan"]["to_send"] == made["counts"]["archived"] == 2
    assert (submits(fal), len(fal.bill)) == (2, 2)
