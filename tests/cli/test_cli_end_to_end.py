"""`generate` and `demo` as a user starts them: processes with Prefect, the embedded fal and ffmpeg."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli_parts import process, with_prefect
from support import submits

from prefect_ltx.fal import price_usd
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REQUEST: dict[str, Any] = {
    "prompt": "A dancer in red.",
    "video_url": "clip.mp4",
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
    "video_write_mode": "fast",
    "seed": 7,
}


@pytest.fixture
def prefect_environ(prefect_server: None, tmp_path: Path) -> dict[str, str]:
    """What makes a process use the tests' Prefect server, with a home of its own."""
    from prefect.settings import PREFECT_API_URL

    return {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(tmp_path / "prefect")}


def test_generate_pays_once_and_gives_the_archived_video_again(
    fal: LocalFal, ltx_env: Path, media_folder: Path, prefect_environ: dict[str, str]
) -> None:
    """A request file with a path relative to it becomes an archived video; run again, it is reused."""
    request = media_folder / "request.json"
    request.write_text(json.dumps(REQUEST))
    done = with_prefect("generate", str(request), "--tag", "trial", "--json", **prefect_environ)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert Path(made["video"]).is_file()
    assert (made["seed"], made["reused"]) == (7, False)
    assert "Traceback" not in done.stderr

    again = with_prefect("generate", str(request), "--json", **prefect_environ)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["reused"] is True
    assert len(fal.bill) == submits(fal) == 1
    assert fal.bill.total_usd == price_usd(256, 128, 9)


def test_generate_says_in_one_line_what_fal_refused(
    fal: LocalFal, ltx_env: Path, media_folder: Path, prefect_environ: dict[str, str]
) -> None:
    """A 422 of fal's ends in one line with the field and the money, exit code 1, and no traceback."""
    request = media_folder / "refused.json"
    request.write_text(json.dumps(REQUEST | {"seed": 8}))
    fal.faults.add("job_422")
    done = process("generate", str(request), **prefect_environ)
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "prompt" in errors[0]
    assert "billed" in errors[0]
    assert "Traceback" not in done.stderr


def test_demo_makes_both_videos_and_touches_nothing_of_the_users(tmp_path: Path) -> None:
    """From an empty home, with a user's own settings around it, the demo stays in its folder and ends well."""
    home = tmp_path / "home"
    home.mkdir()
    out = tmp_path / "demo"
    theirs = {
        "HOME": str(home),
        "FAL_KEY": "the-users-own:key",
        "PREFECT_LTX_LEDGER": f"sqlite:///{home / 'theirs.db'}",
        "PREFECT_LTX_ARCHIVE": str(home / "their-archive"),
        "PREFECT_LTX_BUDGET_USD": "0",
    }
    done = process("demo", "--out", str(out), "--json", **theirs)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert {each["endpoint"].rpartition("/")[2] for each in shown["generations"]} == {
        "reference-video-to-video",
        "ingredient",
    }
    assert shown["verified"]["ok"] is True
    assert (shown["verified"]["generations"], shown["stand_in"], shown["spent_usd"]) == (2, True, "0")
    assert (out / "archive" / "index.html").is_file()
    for each in shown["generations"]:
        folder = out / "archive" / each["folder"]
        assert {"video.mp4", "poster.jpg", "contact_sheet.jpg", "manifest.json"} <= set(os.listdir(folder))
    assert os.listdir(home) == []
    assert "the-users-own" not in done.stdout + done.stderr
