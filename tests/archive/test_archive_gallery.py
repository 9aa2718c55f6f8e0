"""The gallery as a browser would read it, parsed with the standard library."""

from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from archive_parts import FOLDER, archive_generation

from prefect_ltx.archive import Archive

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} </style></title>&amp;"
FILES = {
    "video.mp4": b"video",
    "web.mp4": b"web",
    "poster.jpg": b"poster",
    "contact_sheet.jpg": b"sheet",
    "preview.webp": b"preview",
}


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] not in ("style", "script"):
            self.text += f" {data}"

    def links(self) -> list[str]:
        """All but the icon's, which is empty and in the page itself."""
        names = ("src", "href", "poster")
        shown = [attributes for tag, attributes in self.tags if tag != "link"]
        return [value for attributes in shown for name in names if (value := attributes.get(name))]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


async def page_of(archive: Archive) -> Page:
    await archive.gallery()
    return Page((await archive.read_bytes("index.html")).decode())


async def test_the_page_shows_what_was_made_and_what_it_cost(archive: Archive) -> None:
    """Prompt, expanded prompt, seed, request id, expected and billed price, size, differences, tags."""
    await archive_generation(
        archive,
        FILES,
        prompt_sent="A boat",
        prompt_expanded="A small boat at sea",
        price_billed_usd=Decimal("0.4020"),
        delivered={"width": 1536, "height": 896, "num_frames": 121, "fps": "24"},
        differences=["width 1536 instead of 1530"],
        tags=["launch"],
    )
    text = " ".join((await page_of(archive)).text.split())
    for part in (
        "A boat",
        "A small boat at sea",
        "Seed 42",
        "11111111-2222-3333-4444-555555555555",
        "expected $0.4020525, billed $0.402",
        "1536 × 896, 121 frames at 24 fps",
        "width 1536 instead of 1530",
        "launch",
    ):
        assert part in text
    assert "stand-in" not in text.lower()


async def test_a_price_that_is_not_known_is_not_zero(archive: Archive) -> None:
    """What fal has not billed yet is said to be unknown."""
    await archive_generation(archive, FILES)
    assert "billed not known yet" in (await page_of(archive)).text


async def test_a_stand_in_is_marked(archive: Archive) -> None:
    """What the model did not make says so on its card and at the top."""
    await archive_generation(archive, FILES, stand_in=True)
    assert (await page_of(archive)).text.lower().count("stand-in") >= 2


async def test_all_text_is_escaped(archive: Archive) -> None:
    """Nothing that a prompt, a tag or a delivery says becomes markup, an attribute or a template."""
    await archive_generation(
        archive,
        FILES,
        prompt_sent=EVIL,
        prompt_expanded=EVIL + "!",
        request_id=EVIL,
        endpoint=f"fal/{EVIL}".replace("/script", "script"),
        tags=[EVIL],
        differences=[EVIL],
        delivered={"width": EVIL, "height": EVIL, "fps": EVIL, "num_frames": EVIL},
    )
    page = await page_of(archive)
    assert [attributes for tag, attributes in page.tags if tag in ("script", "img")] == [{}]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("{{ 7*7 }}") >= 5


async def test_links_are_relative_and_lead_to_files(archive: Archive) -> None:
    """The page works from a folder and from a bucket: every link is a file of the archive, none is outside."""
    await archive_generation(archive, FILES)
    await archive_generation(archive, FILES, folder="2026/11/22/späte-#1 100%")
    page = await page_of(archive)
    there = await archive.list()
    assert {unquote(link) for link in page.links()} == set(there) - {"index.html"}
    assert not [link for link in page.links() if link.startswith("/") or ":" in link or "#" in link]


async def test_players_load_nothing_until_they_are_started(archive: Archive) -> None:
    """A hundred videos cost a hundred posters; the web copy is played, or the original where there is none."""
    await archive_generation(archive, FILES)
    await archive_generation(archive, {"video.mp4": b"only"}, folder="2026/11/22/b-1")
    players = [attributes for tag, attributes in (await page_of(archive)).tags if tag == "video"]
    assert {player["src"] for player in players} == {f"{FOLDER}/web.mp4", "2026/11/22/b-1/video.mp4"}
    assert all(player["preload"] == "none" and "controls" in player for player in players)
    assert sum(player.get("poster") == f"{FOLDER}/poster.jpg" for player in players) == 1


async def test_the_page_needs_nothing_from_elsewhere(archive: Archive) -> None:
    """No font, no style and no picture of a third party; one script, its own, and a policy that lets no other run."""
    await archive_generation(archive, FILES)
    page = await page_of(archive)
    assert not {"iframe", "object"} & {tag for tag, _ in page.tags}
    assert [attributes for tag, attributes in page.tags if tag == "link"] == [
        {"rel": "icon", "href": "data:,"}
    ]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    (policy,) = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "@import" not in page.text
    assert "url(" not in page.text


async def test_an_empty_archive_has_a_page(archive: Archive) -> None:
    """The page can be made before anything is archived."""
    assert "Nothing is archived here yet" in (await page_of(archive)).text
