"""A page that shows the archive: one file, links relative to it, nothing from elsewhere.

It works from a folder by `file://` and from a bucket. Everything that comes from a prompt or a file is
escaped by the template; links are percent-encoded. Its own script filters the cards and puts takes side by
side; the page's security policy lets that one script run, by its hash, and no other. Takes are generations
whose requests differ in nothing but the seed. What somebody chooses and rejects on the page goes into a file, which
`prefect-ltx archive review` reads (`review`).

The newest cards are in the page as they are. Those of a larger archive lie behind them, packed, and the script adds
them as somebody scrolls: ten thousand cards as elements would take a browser minutes, and their pictures gigabytes.
Pictures are thumbnails, made once from each poster and kept in the archive under the poster's sha256.
"""

import asyncio
import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, Field, computed_field

from prefect_ltx.archive.additions import Addition, addition_keys, read_additions
from prefect_ltx.archive.additions import folder_of as addition_folder
from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.gallery_notes import NO_VERDICT, ClipNote, GalleryNotes
from prefect_ltx.archive.keys import GALLERY_NAME, THUMBNAILS
from prefect_ltx.archive.manifest import Manifest
from prefect_ltx.archive.reading import folder_of, manifest_keys, read_manifests
from prefect_ltx.archive.thumbnails import Thumbnail, make_thumbnails, thumbnail_key

FIRST: Final = 48
"""Cards that are in the page as they are."""
_BLOCK: Final = 500
"""Cards that are packed together: small enough for a browser to unpack between two frames."""
_MOST_TAGS: Final = 500
_MOST_GROUPS: Final = 50


class GalleryReport(BaseModel):
    """The page that was written, and what is not on it."""

    page: str
    generations: int = 0
    skipped: list[str] = Field(
        default_factory=list, description="Manifests that cannot be read, with the reason."
    )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Every generation is on the page."""
        return not self.skipped


async def write_gallery(
    backend: Backend, thumbnail: Thumbnail | None = None, notes: GalleryNotes | None = None
) -> GalleryReport:
    """Write the page over the last one. A manifest that cannot be read is named in the report and left out.

    Raises:
        ArchiveError: the archive cannot be read now; the page stays what it was.
    """
    entries: list[tuple[str, Manifest]] = []
    report = GalleryReport(page=backend.url(GALLERY_NAME))
    keys = await backend.list("")
    async for key, found in read_manifests(backend, manifest_keys(keys)):
        if isinstance(found, Manifest):
            entries.append((folder_of(key), found))
        else:
            report.skipped.append(found.what)
    report.generations = len(entries)
    additions: dict[str, list[Addition]] = {}
    async for key, added in read_additions(backend, addition_keys(keys), dict(entries), despite_errors=False):
        if isinstance(added, Addition):
            additions.setdefault(addition_folder(key), []).append(added)
        else:
            report.skipped.append(added.what)
    posters = [file for _, manifest in entries if (file := manifest.file("poster")) is not None]
    thumbnails = await backend.list(THUMBNAILS)
    if thumbnail is not None:
        there = {**thumbnails, **await make_thumbnails(backend, entries, thumbnails, thumbnail)}
    else:
        there = thumbnails
    small = {file.sha256: key for file in posters if (key := thumbnail_key(file)) in there}
    page = await asyncio.to_thread(render_gallery, entries, small, notes, additions)
    await backend.put_bytes(
        GALLERY_NAME, page.encode(), content_type="text/html; charset=utf-8", overwrite=True
    )
    return report


def render_gallery(
    entries: list[tuple[str, Manifest]],
    thumbnails: Mapping[str, str] | None = None,
    notes: GalleryNotes | None = None,
    additions: Mapping[str, Sequence[Addition]] | None = None,
) -> str:
    """Return the page for folders with their manifests, newest first; `thumbnails` by their posters' sha256, and
    `additions` by their generation's folder."""
    notes = notes or GalleryNotes()
    shown = [
        _entry(folder, manifest, thumbnails or {}, notes, (additions or {}).get(folder, ()))
        for folder, manifest in _newest_first(entries)
    ]
    takes = Counter(entry["take"] for entry in shown)
    style, script = _file("gallery.css"), _file("gallery.js")
    billed = [manifest.price_billed_usd for _, manifest in entries if manifest.price_billed_usd is not None]
    card = _template("gallery_card.html")
    cards = [card.render(entry={**entry, "takes": takes[entry["take"]]}) for entry in shown]
    tags = Counter(tag for _, manifest in entries for tag in manifest.tags)
    page: str = _template(
        "gallery.html"
    ).render(
        count=len(shown),
        first=min(FIRST, len(shown)),
        cards=Markup("".join(cards[:FIRST])),  # noqa: S704 - rendered by our own template
        rest=[
            _packed(shown[at : at + _BLOCK], cards[at : at + _BLOCK])
            for at in range(FIRST, len(shown), _BLOCK)
        ],
        kinds=sorted({entry["kind"] for entry in shown}),
        tags=sorted(tag for tag, _ in tags.most_common(_MOST_TAGS)),
        qualities=sorted({entry["quality"] for entry in shown}),
        verdicts=sorted({entry["verdict"] for entry in shown}),
        total=notes.total,
        groups=notes.groups[:_MOST_GROUPS],
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=_policy(style, script),
        expected=sum((manifest.price_expected_usd for _, manifest in entries), Decimal(0)),
        billed=sum(billed, Decimal(0)) if billed else None,
        stand_ins=sum(manifest.stand_in for _, manifest in entries),
    )
    return page


def _packed(entries: Sequence[Mapping[str, Any]], cards: Sequence[str]) -> str:
    """What the script needs of some cards, and their markup: JSON, gzip, base64."""
    data = [
        [
            entry["kind"],
            entry["quality"],
            entry["take"],
            entry["tag_list"],
            entry["words"],
            card,
            entry["verdict"],
        ]
        for entry, card in zip(entries, cards, strict=True)
    ]
    return base64.b64encode(gzip.compress(json.dumps(data).encode(), 9, mtime=0)).decode()


def _newest_first(entries: list[tuple[str, Manifest]]) -> list[tuple[str, Manifest]]:
    return sorted(entries, key=lambda entry: entry[1].created_at, reverse=True)


def _policy(style: str, script: str) -> str:
    """The page's Content-Security-Policy: its own style and script by hash, pictures and films beside it.

    The one `data:` picture is the page's empty icon: without one, browsers ask the bucket's server for an icon.
    """

    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    beside = "'self' file:"
    return (
        f"default-src 'none'; style-src {allowed(style)}; script-src {allowed(script)}; "
        f"img-src {beside} data:; media-src {beside}; base-uri 'none'; form-action 'none'"
    )


def _file(name: str) -> str:
    return files("prefect_ltx.archive").joinpath(name).read_text("utf-8")


def _template(name: str) -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"usd": _usd, "when": _when, "short_usd": _short_usd}
    return environment.from_string(_file(name))


def _entry(
    folder: str,
    manifest: Manifest,
    thumbnails: Mapping[str, str],
    notes: GalleryNotes,
    additions: Sequence[Addition],
) -> dict[str, Any]:
    def link(*roles: str) -> str | None:
        found = next((each for role in roles if (each := manifest.file(role)) is not None), None)
        return quote(f"{folder}/{found.name}") if found else None

    def beside(name: str | None) -> str | None:
        return (
            quote(f"{folder}/{name}") if name and any(each.name == name for each in manifest.files) else None
        )

    video, record, poster = manifest.video, manifest.quality, manifest.file("poster")
    small = thumbnails.get(poster.sha256) if poster else None
    note = notes.clips.get(manifest.generation_id, ClipNote(verdict=NO_VERDICT))
    facts = {**(video.facts if video else {}), **manifest.delivered}
    return {
        "manifest": manifest,
        "name": folder.rsplit("/", 1)[-1],
        "folder": folder,
        "verdict": note.verdict,
        "verdict_words": note.words,
        "kind": manifest.endpoint.rsplit("/", 1)[-1],
        "player": link("web", "video"),
        "poster": quote(small) if small else link("poster"),
        "links": [
            (each.role.replace("_", " "), quote(f"{folder}/{each.name}"), each.size)
            for each in manifest.files
        ]
        + [
            (f"{added.recipe}: {each.role.replace('_', ' ')}", quote(f"{folder}/{each.name}"), each.size)
            for added in additions
            for each in added.files
        ],
        "manifest_link": quote(f"{folder}/manifest.json"),
        "width": facts.get("width"),
        "height": facts.get("height"),
        "frames": facts.get("num_frames") or facts.get("frames"),
        "fps": facts.get("fps"),
        "take": _take(manifest),
        "quality": _quality(manifest),
        "findings": [(each, beside(each.picture)) for each in (record.findings if record else [])],
        "tags": json.dumps(manifest.tags),
        "tag_list": manifest.tags,
        "words": _words(folder, manifest),
    }


def _take(manifest: Manifest) -> str:
    """The same for generations of one request with different seeds."""
    request = {name: value for name, value in manifest.request.items() if name != "seed"}
    request |= {each.field: each.sha256 for each in manifest.inputs}
    text = json.dumps([manifest.endpoint, request], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _quality(manifest: Manifest) -> str:
    if manifest.quality is None:
        return "not inspected"
    if manifest.quality.rejected:
        return "rejected"
    told = any(each.severity != "info" for each in manifest.quality.findings)
    return "with findings" if told else "nothing found"


def _words(folder: str, manifest: Manifest) -> str:
    """What the search looks through, in lower case."""
    parts = [folder, manifest.prompt_sent, manifest.prompt_expanded, str(manifest.seed), manifest.request_id]
    return " ".join([*parts, manifest.generation_id, *manifest.tags]).lower()


def _usd(amount: Decimal | None) -> str:
    return "not known yet" if amount is None else f"${amount.normalize():f}"


def _short_usd(amount: Decimal | None) -> str:
    """A quotient as people read it."""
    return "–" if amount is None else f"${amount:.4f}"


def _when(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
