"""The gallery in a real browser: from a folder, and from a bucket that everybody may read."""

import asyncio
import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from archive_parts import manifest
from browser import CHROMIUM, Page, browser
from s3_servers import SECRET, S3Server

from prefect_ltx.archive import Archive, ArchivedFile, QualityRecord, RecordedFinding
from prefect_ltx.media import render_renditions

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)"),
    pytest.mark.timeout(120),
]
EVIL = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> {{ 7*7 }}"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("chromium") / "profile"
    with browser(folder) as found:
        yield found


@dataclass
class Shelf:
    """An archive, and the address below which a browser finds its files."""

    archive: Archive
    address: str

    @property
    def page(self) -> str:
        return f"{self.address}/index.html"


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.real_s3)])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    if request.param == "folder":
        return Shelf(Archive(tmp_path / "archive"), (tmp_path / "archive").as_uri())
    swift: S3Server = request.getfixturevalue("swift")
    bucket = swift.new_bucket()
    return Shelf(swift.archive(bucket, prefix="films of/2026"), swift.make_public(bucket, "films of/2026"))


@pytest.fixture(scope="module")
def renditions(media_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, str]]:
    """What belongs to one video: name to content and its type."""
    made = asyncio.run(render_renditions(media_folder / "clip.mp4", tmp_path_factory.mktemp("renditions")))
    return {each.path.name: (each.path.read_bytes(), each.content_type) for each in made}


async def fill(archive: Archive, files: dict[str, tuple[bytes, str]]) -> None:
    """Three takes of one request, a rejected one among them, and another video with hostile texts."""
    rejected = QualityRecord(
        policy="reject",
        verdict="reject",
        findings=[
            RecordedFinding(
                kind="sheet_throughout", severity="error", message="the reference sheet shows in the whole clip",
                start_seconds=0, end_seconds=1, picture="poster.jpg",
            )
        ],
    )  # fmt: skip
    start = datetime(2026, 11, 21, 12, tzinfo=UTC)
    for number, (prompt, tags, quality) in enumerate(
        [
            ("A boat leaves the harbour", ["launch"], None),
            ("A boat leaves the harbour", ["launch"], QualityRecord(policy="warn", verdict="accept")),
            ("A boat leaves the harbour", ["launch"], rejected),
            (EVIL, [EVIL], None),
        ]
    ):
        place = f"2026/11/21/ingredient-take {number}+#%20ä"
        described = []
        for name, (data, kind) in files.items():
            await archive.put_bytes(f"{place}/{name}", data, content_type=kind)
            sha256 = hashlib.sha256(data).hexdigest()
            described.append(
                ArchivedFile(
                    role=Path(name).stem, name=name, sha256=sha256, size=len(data), content_type=kind
                )
            )
        await archive.publish(
            manifest(
                files=None, folder=place, seed=number, prompt_sent=prompt, tags=tags, quality=quality,
                request={"prompt": prompt, "seed": number}, created_at=start + timedelta(minutes=number),
                price_billed_usd=Decimal("0.4020525"), generation_key=f"{number:064}",
                delivered={"width": 256, "height": 144, "num_frames": 25, "fps": "24"},
            ).model_copy(update={"files": described})
        )  # fmt: skip
    await archive.gallery()


async def posters(page: Page) -> list[str]:
    """The media types of the posters that have come, once there are as many as cards."""
    async with asyncio.timeout(60):
        while (
            len(found := [kind for url, kind in page.received().items() if url.endswith("/poster.jpg")]) < 4
        ):
            await asyncio.sleep(0.1)
    return found


def visible(page: Page) -> list[str]:
    """The seeds of the cards that are to be seen, in their order."""
    return [
        str(seed)
        for seed in page.evaluate(
            "[...document.querySelectorAll('article')].filter(a => a.offsetParent !== null)"
            ".map(a => a.querySelector('dd').textContent)"
        )
    ]


def enter(page: Page, element: str, value: str) -> None:
    page.evaluate(
        f"{{ const e = document.getElementById('{element}'); e.value = {value!r}; "
        "e.dispatchEvent(new Event(e.tagName === 'INPUT' ? 'input' : 'change')); }"
    )


async def test_the_gallery_works_in_a_browser(
    page: Page, shelf: Shelf, renditions: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    """Posters and films load, filters filter, takes stand side by side and play, and hostile texts stay texts."""
    await fill(shelf.archive, renditions)
    page.open(shelf.page)
    assert visible(page) == ["3", "2", "1", "0"]
    assert page.evaluate("document.title") == "LTX-2.3 videos: 4"
    assert EVIL in page.evaluate("document.body.innerText")
    assert page.evaluate("document.images.length") == 0
    assert await posters(page) == ["image/jpeg"] * 4

    enter(page, "search", "BOAT harbour")
    assert visible(page) == ["2", "1", "0"]
    enter(page, "by-quality", "rejected")
    assert visible(page) == ["2"]
    enter(page, "by-quality", "")
    enter(page, "search", "")
    enter(page, "by-tag", "launch")
    assert visible(page) == ["2", "1", "0"]
    assert page.evaluate("document.getElementById('shown').textContent") == "3 of 4 shown"
    page.screenshot(tmp_path / "all.png")

    page.evaluate("document.querySelector('article:not([hidden]) [data-takes]').click()")
    assert visible(page) == ["2", "1", "0"]
    tops = page.evaluate(
        "[...document.querySelectorAll('article:not([hidden])')].map(a => a.getBoundingClientRect().top)"
    )
    assert len(tops) == 3
    assert len(set(tops)) == 1
    page.evaluate("document.getElementById('play').click()")
    played = page.evaluate(
        "Promise.all([...document.querySelectorAll('article:not([hidden]) video')].map(v => "
        "new Promise(done => v.ended ? done(v.videoWidth) : "
        "(v.onended = () => done(v.videoWidth), v.onerror = () => done('error')))))"
    )
    assert played == [256, 256, 256]
    page.screenshot(tmp_path / "compared.png")
    page.evaluate("document.getElementById('back').click()")
    assert visible(page) == ["2", "1", "0"]

    page.evaluate("for (const n of [1, 3]) document.querySelectorAll('.pick input')[n].click()")
    enter(page, "by-tag", "")
    page.evaluate("document.getElementById('compare').click()")
    assert visible(page) == ["2", "0"]

    assert page.complaints() == []
    # The player's own icons are data: URIs of the browser's.
    asked = [url for url in page.requested() if not url.startswith("data:")]
    assert [url for url in asked if not url.startswith(f"{shelf.address}/") or "?" in url] == []
    written = (await shelf.archive.read_bytes("index.html")).decode()
    assert re.search(f"(?i)signature|x-amz|accesskey|{SECRET}|test:tester|127.0.0.1", written) is None


@pytest.mark.real_s3
async def test_a_bucket_shows_its_gallery_to_whom_it_may_concern(swift: S3Server) -> None:
    """The page grants nothing: a bucket that is not public stays closed. A new page is not hidden by an old copy."""
    bucket = swift.new_bucket()
    archive = swift.archive(bucket, prefix="films")
    await archive.gallery()
    page = swift.client().head_object(Bucket=bucket, Key="films/index.html")
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
    # The address is that of the public bucket.
    address = swift.make_public(bucket, "films") + "/index.html"
    assert urllib.request.urlopen(address).status == 200
    swift.client().put_bucket_acl(Bucket=bucket, ACL="private")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address)


async def test_an_archive_without_anything_opens(page: Page, tmp_path: Path) -> None:
    """No card, no error."""
    page.open(await Archive(tmp_path / "archive").gallery())
    assert "Nothing is archived here yet" in page.evaluate("document.body.innerText")
    assert page.complaints() == []
