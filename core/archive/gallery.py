"""A page that shows the archive: one file, no script, links relative to it.

It works from a folder by `file://` and from a bucket. Everything that comes from a prompt or a file is
escaped by the template; links are percent-encoded.
"""

from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

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
    newest = sorted(entries, key=lambda entry: entry[1].created_at, reverse=True)
    billed = [manifest.price_billed_usd for _, manifest in entries if manifest.price_billed_usd is not None]
    page: str = _template().render(
        entries=[_entry(folder, manifest) for folder, manifest in newest],
        expected=sum((manifest.price_expected_usd for _, manifest in entries), Decimal(0)),
        billed=sum(billed, Decimal(0)) if billed else None,
        stand_ins=sum(manifest.stand_in for _, manifest in entries),
    )
    return page


def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"usd": _usd, "when": _when}
    return environment.from_string(files("prefect_ltx.archive").joinpath("gallery.html").read_text("utf-8"))


def _entry(folder: str, manifest: Manifest) -> dict[str, Any]:
    def link(*roles: str) -> str | None:
        found = next((each for role in roles if (each := manifest.file(role)) is not None), None)
        return quote(f"{folder}/{found.name}") if found else None

    video = manifest.video
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
    }


def _usd(amount: Decimal | None) -> str:
    return "not known yet" if amount is None else f"${amount.normalize():f}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment.utcoffset() is not None else str(moment)
