"""An archive that others wrote: what is no manifest is named and passed over, and nothing outside it is touched."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive_parts import FOLDER, archive_generation, manifest
from test_archive_cli import cli

from prefect_ltx.archive import Archive, ArchiveCorrupt
from prefect_ltx.ledger import AsyncLedger, Ledger
from prefect_ltx.recovery.rebuild import rebuild_ledger

FILES = {"video.mp4": b"video", "poster.jpg": b"poster"}


def described(**changes: Any) -> dict[str, Any]:
    return {**json.loads(manifest(FILES).to_bytes()), **changes}


def with_file(**changes: Any) -> dict[str, Any]:
    whole = described()
    whole["files"][0] |= changes
    return whole


def text_of(value: Any) -> bytes:
    return json.dumps(value).encode()


BAD_TEXTS: dict[str, bytes] = {
    "a price beyond all bills": text_of(described(price_expected_usd="1E+99999999")),
    "a price of too many places": text_of(described(price_billed_usd="1E-99999999")),
    "no number": text_of(described(price_expected_usd="NaN")),
    "without end": text_of(described(billable_units="Infinity")),
    "a price below zero": text_of(described(price_expected_usd="-1")),
    "half an emoji": text_of(described(prompt_sent="\ud83d")),
    "half an emoji in a field of its own": text_of(described(more={"deep": ["\udc00"]})),
    "half an emoji in raw bytes": text_of(described(prompt_sent="X")).replace(b'"X"', b'"\xed\xa0\x80"'),
    "a seed of 2,000 digits": text_of(described()).replace(b'"seed": 42', b'"seed": ' + b"9" * 2000),
    "a seed of 6,000 digits": text_of(described()).replace(b'"seed": 42', b'"seed": ' + b"9" * 6000),
    "a size below zero": text_of(with_file(size=-1)),
    "a size beyond 64 bits": text_of(with_file(size=2**70)),
    "a name that leads out": text_of(with_file(name="../../../etc/passwd")),
    "a name from the root": text_of(with_file(name="/etc/passwd")),
    "a name with a backslash": text_of(with_file(name="..\\..\\x")),
    "a name that is hidden": text_of(with_file(name=".ssh/id")),
    "a day before time": text_of(described(created_at="0001-01-01T00:00:00+14:00")),
    "a day after time": text_of(described(created_at="9999-12-31T23:59:59-12:00")),
    "deep nesting": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN of its own": text_of(described()).replace(b'"seed": 42', b'"seed": NaN'),
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "nothing": b"",
}  # fmt: skip


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        here = os.open(path.parent, os.O_RDONLY)
        line.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(6 << 30)


BAD_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": a_pipe,
    "socket": a_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "huge": huge,
    "circle": lambda path: path.symlink_to(path.name),
    "out": lambda path: path.symlink_to(path.parents[4] / "outside.json"),
    "passwd": lambda path: path.symlink_to("/etc/passwd"),
}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A good generation among bad ones, and a good manifest outside."""
    found = Archive(tmp_path / "archive")
    asyncio.run(archive_generation(found, FILES, generation_id="abcdef0123"))
    root = tmp_path / "archive" / "2026" / "12"
    for number, text in enumerate(BAD_TEXTS.values()):
        (root / f"text-{number:02}").mkdir(parents=True)
        (root / f"text-{number:02}" / "manifest.json").write_bytes(text)
    (tmp_path / "outside.json").write_bytes(text_of(described(prompt_sent="outside secret")))
    for name, make in BAD_FILES.items():
        (root / name).mkdir()
        make(root / name / "manifest.json")
    os.mkdir(os.fsencode(root) + b"/\xff\xfe")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe"), "manifest.json").write_bytes(text_of(described()))
    monkeypatch.setenv("PREFECT_LTX_ARCHIVE", found.location)
    return found


BAD = len(BAD_TEXTS) + len(BAD_FILES) - 1 + 1  # a folder is no file; and the name that is no text


def test_each_bad_manifest_is_named_and_nothing_stops(archive: Archive, tmp_path: Path) -> None:
    """verify, gallery, rehydrate and rebuild go on with the good one, name every bad one, and end with 1."""
    checked = cli("verify", exit_code=1)
    assert (checked["generations"], checked["files"], checked["missing"], checked["altered"]) == (
        1,
        2,
        [],
        [],
    )
    shown = cli("gallery", exit_code=1)
    brought = cli("rehydrate", str(tmp_path / "back"), exit_code=1)
    assert (shown["generations"], brought["generations"]) == (1, 1)
    for lines in (checked["unreadable"], shown["skipped"], brought["failed"]):
        assert len(lines) == BAD
        for number in range(len(BAD_TEXTS)):
            assert sum(f"text-{number:02}/manifest.json" in line for line in lines) == 1, number
        for name in set(BAD_FILES) - {"folder"}:
            assert sum(f"/{name}/manifest.json" in line for line in lines) == 1, name
    page = (tmp_path / "archive" / "index.html").read_text()
    assert page.count("<article") == 1
    assert "outside secret" not in page
    assert not [path for path in (tmp_path / "back").rglob("*") if path.is_symlink()]

    async def rebuilt() -> Any:
        with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            return await rebuild_ledger(archive, AsyncLedger(ledger), actor="test")

    report = asyncio.run(rebuilt())
    assert (report.restored, len(report.unreadable), report.ok) == (1, BAD, False)


async def test_a_link_is_not_followed_out_of_the_archive(tmp_path: Path) -> None:
    """Neither to read nor to write: files and folders, absolute and by `..`; links inside it are fine."""
    root, outside = tmp_path / "archive", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.bin").write_bytes(b"secret")
    archive = Archive(root)
    await archive.put_bytes("a/inside.bin", b"inside", content_type="application/octet-stream")
    (root / "a" / "file.bin").symlink_to(outside / "secret.bin")
    (root / "a" / "dots.bin").symlink_to("../../outside/secret.bin")
    (root / "a" / "own.bin").symlink_to("inside.bin")
    (root / "gone").symlink_to(outside)
    for key in ("a/file.bin", "a/dots.bin", "gone/secret.bin"):
        with pytest.raises(ArchiveCorrupt, match="out of the archive"):
            await archive.read_bytes(key)
        with pytest.raises(ArchiveCorrupt, match="out of the archive"):
            await archive.exists(key)
        with pytest.raises(ArchiveCorrupt, match="out of the archive"):
            await archive.put_bytes(key, b"other", content_type="application/octet-stream")
    for key in ("gone/new.bin", "gone/deeper/new.bin"):
        with pytest.raises(ArchiveCorrupt, match="out of the archive"):
            await archive.put_bytes(key, b"new", content_type="application/octet-stream")
    assert [path.name for path in outside.iterdir()] == ["secret.bin"]
    assert (outside / "secret.bin").read_bytes() == b"secret"
    assert await archive.read_bytes("a/own.bin") == b"inside"
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    assert (
        await Archive(linked).read_bytes("a/inside.bin") == b"inside"
    )  # where the archive is, its owner says


async def test_what_is_brought_back_stays_where_it_was_to_go(archive: Archive, tmp_path: Path) -> None:
    """A link in the folder to fill leads nowhere else, and a file that is longer than described is not read on."""
    outside, back = tmp_path / "elsewhere", tmp_path / "back"
    outside.mkdir()
    back.mkdir()
    (back / "2026").symlink_to(outside)
    report = await archive.rehydrate(back)
    assert not report.ok
    assert list(outside.iterdir()) == []
    with (tmp_path / "archive" / FOLDER / "video.mp4").open("r+b") as file:
        file.truncate(6 << 30)
    report = await archive.rehydrate(tmp_path / "again")
    assert any("video.mp4" in line and "more bytes" in line for line in report.failed)


async def test_times_are_shown_in_utc(tmp_path: Path) -> None:
    """Whatever offset a manifest was written with, the page and its order are those of one clock."""
    archive = Archive(tmp_path / "archive")
    times = {
        "a": "2026-11-21T09:30:00+14:00",
        "b": "2026-11-20T18:30:00-03:30",
        "c": "2026-11-20T20:00:00+00:00",
    }
    for name, moment in times.items():
        await archive_generation(
            archive, FILES, folder=f"2026/11/21/{name}", created_at=moment, prompt_sent=name
        )
    await archive.gallery()
    page = (await archive.read_bytes("index.html")).decode()
    assert re.findall(r"(2026-\d\d-\d\d \d\d:\d\d) UTC", page) == [
        "2026-11-20 22:00", "2026-11-20 20:00", "2026-11-20 19:30",
    ]  # fmt: skip
    assert re.findall(r'<p class="prompt">(.)</p>', page) == ["b", "c", "a"]
