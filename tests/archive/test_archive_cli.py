"""`prefect-ltx archive …` as a person starts it, on an archive made by hand."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from archive_parts import FOLDER, archive_generation, sha
from forked import run_without_prefect

from prefect_ltx.archive import Archive, InputFile


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """One generation with two files, whose sheet is `renamed.png` in the test's folder."""
    found = Archive(tmp_path / "archive")
    (tmp_path / "renamed.png").write_bytes(b"sheet")
    sheet = InputFile(field="image_url", sha256=sha(b"sheet"), size=5, content_type="image/png")
    files = {"video.mp4": b"video", "poster.jpg": b"poster"}
    asyncio.run(archive_generation(found, files, inputs=[sheet], generation_id="abcdef0123"))
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", found.location)
    return found


def cli(*arguments: str, exit_code: int = 0) -> Any:
    done = run_without_prefect(
        "prefect_ltx.cli", "archive", *arguments, "--json", env=os.environ, cwd=Path.cwd()
    )
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_rehydrate_brings_everything_back(archive: Archive, tmp_path: Path) -> None:
    """Exit code 0 with every byte there, 1 where one is not what its manifest says."""
    report = cli("rehydrate", str(tmp_path / "back"))
    assert (report["ok"], report["files"], report["fetched"]) == (True, 2, 2)
    assert (tmp_path / "back" / FOLDER / "video.mp4").read_bytes() == b"video"
    Path(archive.location, FOLDER, "video.mp4").write_bytes(b"vide0")
    assert cli("rehydrate", str(tmp_path / "again"), exit_code=1)["ok"] is False


def test_reproduce_prints_a_request_that_generate_takes(archive: Archive, tmp_path: Path) -> None:
    """By folder or by the beginning of the id; the media are placeholders until a file with that content is given."""
    request = cli("reproduce", FOLDER)
    assert (request["seed"], request["enable_prompt_expansion"]) == (42, False)
    assert request["image_url"] == f"sha256:{sha(b'sheet')}"
    sheet = tmp_path / "renamed.png"
    assert cli("reproduce", "abcdef", "--media", str(sheet))["image_url"] == str(sheet)
    assert "None of the 1 files is image_url" in cli(
        "reproduce", "abcdef", "--media", str(tmp_path / "archive" / FOLDER / "poster.jpg"), exit_code=1
    )
    assert "0 archived generations" in cli("reproduce", "fedcba", exit_code=1)


def test_a_person_sees_a_progress_bar(archive: Archive) -> None:
    """On a terminal the check shows how many files of how many; a log file gets no bar."""
    ours, its = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "prefect_ltx.cli", "archive", "verify"],
        stdout=subprocess.PIPE,
        stderr=its,
        timeout=60,
        check=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(its)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    assert b"checking 2 of 2 files" in shown
    assert b"every byte is as its manifest says" in done.stdout
