"""The gallery of many generations: thumbnails made once, a page that grows as one scrolls, nothing from elsewhere."""

import base64
import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archive_parts import archive_generation, manifest
from browser import CHROMIUM, Page, browser
from test_archive_gallery import EVIL

from prefect_ltx.archive import Archive
from prefect_ltx.archive.gallery import FIRST, render_gallery
from prefect_ltx.media import Poster, Recipe, render_renditions
from prefect_ltx.media.thumbnail import thumbnail

COUNT = 300
START = datetime(2026, 11, 21, tzinfo=UTC)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (make chromium)")


@pytest.fixture(scope="module")
def poster(media_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    import asyncio

    recipe = Recipe(name="posters", outputs=[Poster()])
    made = asyncio.run(
        render_renditions(media_folder / "clip.mp4", tmp_path_factory.mktemp("poster"), recipe=recipe)
    )
    return next(each.path for each in made if each.path.name == "poster.jpg").read_bytes()


def generation(number: int, poster: bytes) -> tuple[dict[str, bytes], dict[str, object]]:
    # What follows a JPEG's end belongs to no picture: each poster is a file of its own.
    files = {"video.mp4": b"v%d" % number, "poster.jpg": poster + b"%d" % number}
    return files, {
        "folder": f"2026/11/21/ingredient-{number:04}",
        "created_at": START + timedelta(minutes=number),
        "prompt_sent": f"number {number} {EVIL}",
        "tags": [f"tag{number % 3}"],
        "seed": number // 2,
    }


async def test_thumbnails_are_made_once_and_used(tmp_path: Path, poster: bytes) -> None:
    """Small JPEGs beside the archive's own files: one for each poster, made once, and no check sees them."""
    archive = Archive(tmp_path / "archive")
    for number in range(3):
        files, changes = generation(number, poster)
        await archive_generation(archive, files, **changes)
    await archive_generation(
        archive, {"video.mp4": b"v", "poster.jpg": b"no picture"}, folder="2026/11/20/odd"
    )
    asked: list[int] = []

    def counted(data: bytes) -> bytes | None:
        asked.append(len(data))
        return thumbnail(data)

    assert (await archive.gallery_report(counted)).ok
    page = (await archive.read_bytes("index.html")).decode()
    small = re.findall(r'poster="(\.thumbnails/[0-9a-f]{64}\.jpg)"', page)
    assert (len(small), len(set(small)), len(asked)) == (3, 3, 4)
    made = [tmp_path / "archive" / name for name in small]
    assert all(
        path.read_bytes().startswith(b"\xff\xd8\xff") and path.stat().st_size < 30_000 for path in made
    )
    asked.clear()
    await archive.gallery_report(counted)
    assert len(asked) == 1  # only the one that is no picture
    report = await archive.verify()
    assert (report.ok, report.unlisted) == (True, [])
    assert not [key for key in await archive.list() if "thumbnail" in key]


def test_the_rest_is_packed_escaped_and_in_order() -> None:
    """Only the newest cards are elements; the others are text until the page's one script unpacks them."""
    entries = []
    for number in range(COUNT):
        files, changes = generation(number, b"poster")
        made = manifest(files, **changes)
        entries.append((made.folder, made))
    page = render_gallery(entries)
    assert page.count("<article") == FIRST
    assert page.count("<script>") == 1
    blocks = re.findall(r'<template class="rest">([A-Za-z0-9+/=]+)</template>', page)
    rest = [card for block in blocks for card in json.loads(gzip.decompress(base64.b64decode(block)))]
    assert len(rest) == COUNT - FIRST
    assert [re.search(r"ingredient-(\d+)", card[5])[1] for card in rest] == [  # type: ignore[index]
        f"{number:04}" for number in reversed(range(COUNT - FIRST))
    ]
    for card in rest:
        assert "<script" not in card[5]
        assert "onerror=" not in re.sub(r"&[a-z0-9#]+;", "", card[5]) or "&lt;img" in card[5]
    assert len(page) < COUNT * 1_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium") / "profile") as found:
        yield found


@needs_chromium
async def test_a_browser_shows_more_as_one_scrolls(page: Page, tmp_path: Path, poster: bytes) -> None:
    """At first the newest few and their thumbnails; search and tags find all, and scrolling reaches the oldest."""
    root = tmp_path / "archive"
    archive = Archive(root)
    for number in range(COUNT):
        files, changes = generation(number, poster)
        made = manifest(files, **changes)  # type: ignore[arg-type]
        (root / made.folder).mkdir(parents=True)
        for name, data in files.items():
            (root / made.folder / name).write_bytes(data)
        (root / made.folder / "manifest.json").write_bytes(made.to_bytes())
    assert (await archive.gallery_report(thumbnail)).generations == COUNT
    page.size(1400, 1000)
    page.open((root / "index.html").as_uri())
    page.until(f"document.getElementById('shown').textContent === '{COUNT} of {COUNT} shown'")
    loaded = [each for each in page.requested() if "thumbnails" in each or "poster" in each]
    assert 0 < len(loaded) <= 2 * FIRST
    assert not [each for each in loaded if "poster.jpg" in each]
    visible = "document.querySelectorAll('article:not([hidden])').length"
    assert page.evaluate(visible) <= 2 * FIRST
    page.evaluate(
        "(() => { const s = document.getElementById('search'); s.value = 'ingredient-0007 <script'; "
        "s.dispatchEvent(new Event('input')); })()"
    )
    assert page.evaluate("document.getElementById('shown').textContent") == f"1 of {COUNT} shown"
    page.evaluate(
        "(() => { const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'));"
        "const t = document.getElementById('by-tag'); t.value = 'tag1'; t.dispatchEvent(new Event('change')); })()"
    )
    assert page.evaluate("document.getElementById('shown').textContent") == f"100 of {COUNT} shown"
    page.evaluate(
        "(() => { const t = document.getElementById('by-tag'); t.value = ''; t.dispatchEvent(new Event('change')); })()"
    )
    page.until(f"(scrollTo(0, document.body.scrollHeight), {visible} === {COUNT})")
    order = page.evaluate("[...document.querySelectorAll('article')].map(a => a.id)")
    assert order == [f"ingredient-{number:04}" for number in reversed(range(COUNT))]
    assert page.evaluate("document.title") == f"LTX-2.3 videos: {COUNT}"
    # Takes of one request that are far apart are put side by side all the same.
    assert page.complaints() == []
