"""A page that shows the archive: one file, links relative to it, nothing from elsewhere.

It works from a folder by `file://` and from a bucket. Everything that comes from a prompt or a file is
escaped by the template; links are percent-encoded. Its own script filters the cards and puts takes side by
side; the page's security policy lets that one script run, by its hash, and no other. Takes are generations
whose requests differ in nothing but the seed.
"""

import base64
import hashlib
import json
from collections import Counter
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.keys import GALLERY_NAME
from prefect_ltx.archive.manifest import Manifest
from prefect_ltx.archive.reading import folder_of, manifest_keys, read_manifests


async def write_gallery(backend: Backend) -> str:
    """Write the page over the last one and return its address."""
    entries: list[tuple[str, Manifest]] = []
    async for key, found in read_manifests(backend, manifest_keys(await backend.list(""))):
        if isinstance(found, Manifest):
            entries.append((folder_of(key), found))
    page = render_gallery(entries)
    await backend.put_bytes(
        GALLERY_NAME, page.encode(), content_type="text/html; charset=utf-8", overwrite=True
    )
    return backend.url(GALLERY_NAME)


def render_gallery(entries: list[tuple[str, Manifest]]) -> str:
    """Return the page for folders with their manifests, newest first."""
    shown = [_entry(folder, manifest) for folder, manifest in _newest_first(entries)]
    takes = Counter(entry["take"] for entry in shown)
    style, script = _file("gallery.css"), _file("gallery.js")
    billed = [manifest.price_billed_usd for _, manifest in entries if manifest.price_billed_usd is not None]
    page: str = _template().render(
        entries=[{**entry, "takes": takes[entry["take"]]} for entry in shown],
        kinds=sorted({entry["kind"] for entry in shown}),
        tags=sorted({tag for _, manifest in entries for tag in manifest.tags}),
        qualities=sorted({entry["quality"] for entry in shown}),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        policy=_policy(style, script),
        expected=sum((manifest.price_expected_usd for _, manifest in entries), Decimal(0)),
        billed=sum(billed, Decimal(0)) if billed else None,
        stand_ins=sum(manifest.stand_in for _, manifest in entries),
    )
    return page


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


def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"usd": _usd, "when": _when}
    return environment.from_string(_file("gallery.html"))


def _entry(folder: str, manifest: Manifest) -> dict[str, Any]:
    def link(*roles: str) -> str | None:
        found = next((each for role in roles if (each := manifest.file(role)) is not None), None)
        return quote(f"{folder}/{found.name}") if found else None

    def beside(name: str | None) -> str | None:
        return (
            quote(f"{folder}/{name}") if name and any(each.name == name for each in manifest.files) else None
        )

    video, record = manifest.video, manifest.quality
    facts = {**(video.facts if video else {}), **manifest.delivered}
    return {
        "manifest": manifest,
        "name": folder.rsplit("/", 1)[-1],
        "kind": manifest.endpoint.rsplit("/", 1)[-1],
        "player": link("web", "video"),
        "poster": link("poster"),
        "links": [
            (each.role.replace("_", " "), quote(f"{folder}/{each.name}"), each.size)
            for each in manifest.files
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


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment.utcoffset() is not None else str(moment)
