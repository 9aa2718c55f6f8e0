"""Other renditions of what is archived, made later: beside the old ones, as an addition to the manifest.

Nothing is sent or bought, and nothing is overwritten. A clip that was rendered by a recipe before is passed over, and
one clip's failure ends no other's.
"""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, Field, computed_field

from prefect_ltx.archive import (
    Addition,
    Archive,
    ArchiveConflict,
    ArchivedFile,
    ArchiveError,
    Manifest,
    ManifestUnreadable,
    addition_key,
    addition_name,
)
from prefect_ltx.fal import plain
from prefect_ltx.generation.store import tools
from prefect_ltx.media import MediaError, Recipe, Rendition, recipe_named, render_renditions, sha256_file
from prefect_ltx.provenance import Signer, mark_rendition


class RenderedClip(BaseModel):
    """One clip with its new files, by their place in the archive."""

    folder: str
    generation_id: str
    addition: str
    files: dict[str, str]


class RenderReport(BaseModel):
    """What was rendered. `ok`: every clip that was asked for has the recipe's renditions."""

    location: str
    recipe: str
    rendered: list[RenderedClip] = Field(default_factory=list)
    known: list[str] = Field(default_factory=list, description="Folders that had them before.")
    failed: list[str] = Field(default_factory=list, description="One line for each, with the reason.")
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.failed


async def render_archived(
    archive: Archive,
    recipe: str | Recipe,
    *,
    work: Path,
    tags: Collection[str] = (),
    names: Collection[str] = (),
    signer: Signer | None = None,
    on_clip: Callable[[str, int], None] | None = None,
) -> RenderReport:
    """Make the recipe's renditions of every archived clip that has all of the tags.

    Args:
        archive: where the clips are, and where the renditions go.
        recipe: a recipe, or the name of a ready-made one.
        work: a folder of this machine that is used meanwhile, and left as it was.
        tags: all of them have to be a clip's.
        names: folders, or ids and beginnings of ids, of the clips; none: all of them.
        signer: signs renditions with Content Credentials, as those of a generation are.
        on_clip: called with a folder and how many are done, in the event loop.

    Raises:
        ValueError: no such recipe, or one without renditions.
        ArchiveError: the archive cannot be listed.
    """
    recipe = recipe_named(recipe) if isinstance(recipe, str) else recipe
    if not recipe.outputs:
        raise ValueError(f"the recipe {recipe.name} makes no renditions")
    began = asyncio.get_running_loop().time()
    report = RenderReport(location=archive.location, recipe=recipe.name)
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    async for folder, manifest in _chosen(archive, tags, names, report):
        try:
            clip = await _one(archive, folder, manifest, recipe, work, signer)
        except Exception as error:  # one clip's trouble is its own
            report.failed.append(f"{folder}: {_why(error)}")
        else:
            if clip is None:
                report.known.append(folder)
            else:
                report.rendered.append(clip)
        if on_clip is not None:
            on_clip(folder, len(report.rendered) + len(report.known) + len(report.failed))
    report.seconds = asyncio.get_running_loop().time() - began
    return report


async def _chosen(
    archive: Archive, tags: Collection[str], names: Collection[str], report: RenderReport
) -> AsyncIterator[tuple[str, Manifest]]:
    found = set[str]()
    async for folder, manifest in archive.every_manifest():
        if isinstance(manifest, ManifestUnreadable):
            if not names and not tags:
                report.failed.append(f"{folder}: {manifest.what}")
            continue
        mine = {
            name for name in names if folder == name or (name and manifest.generation_id.startswith(name))
        }
        found |= mine
        if set(tags) <= set(manifest.tags) and (mine or not names):
            yield folder, manifest
    report.failed += [f"{name}: nothing of this name is archived" for name in names if name not in found]


async def _one(
    archive: Archive, folder: str, manifest: Manifest, recipe: Recipe, work: Path, signer: Signer | None
) -> RenderedClip | None:
    """One clip's renditions; None where it has them."""
    video = manifest.video
    if video is None:
        raise MediaError("its manifest names no video")
    if "problem" in manifest.delivered:
        raise MediaError(f"it does not decode: {manifest.delivered['problem']}")
    lead_in = manifest.quality.trimmed_frames if manifest.quality else 0
    recipe_sha256 = hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()
    name = addition_name(recipe.name, recipe_sha256, video.sha256, lead_in)
    if await archive.exists(addition_key(folder, name)):
        return None
    scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="render-", dir=work))
    try:
        # Its name on this machine is ours: the manifest may be anybody's.
        source = scratch / f"video{Path(video.name).suffix[:8]}"
        await archive.fetch(f"{folder}/{video.name}", source, sha256=video.sha256, size=video.size)
        made = await render_renditions(source, scratch / "made", recipe=recipe, lead_in_frames=lead_in)
        marked = [
            await mark_rendition(each, scratch / "marked", stand_in=manifest.stand_in, signer=signer)
            for each in made
        ]
        files = [await _put(archive, folder, name, each) for each in marked]
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    addition = Addition(
        generation_key=manifest.generation_key,
        generation_id=manifest.generation_id,
        manifest_sha256=manifest.sha256,
        video_sha256=video.sha256,
        recipe=recipe.name,
        recipe_sha256=recipe_sha256,
        lead_in_frames=lead_in,
        files=files,
        tools=await asyncio.to_thread(tools, signed=signer is not None),
        stand_in=manifest.stand_in,
        created_at=datetime.now(UTC),
        folder=name,
    ).hashed()
    stored = await archive.add(folder, name, addition)
    return RenderedClip(
        folder=folder,
        generation_id=manifest.generation_id,
        addition=archive.url(stored.key),
        files={each.role: archive.url(f"{folder}/{each.name}") for each in files},
    )


async def _put(archive: Archive, folder: str, name: str, rendition: Rendition) -> ArchivedFile:
    place = f"{name}/{rendition.path.name}"
    key, sha256, size = f"{folder}/{place}", rendition.sha256, rendition.size
    try:
        await archive.put_file(key, rendition.path, sha256=sha256, content_type=rendition.content_type)
    except ArchiveConflict:
        # A run that was killed before its addition left its own rendering: that one counts, nothing is overwritten.
        await archive.fetch(key, rendition.path)
        sha256 = await asyncio.to_thread(sha256_file, rendition.path)
        size = rendition.path.stat().st_size
    return ArchivedFile(
        role=rendition.name,
        name=place,
        sha256=sha256,
        size=size,
        content_type=rendition.content_type,
        facts=rendition.facts,
    )


def _why(error: Exception) -> str:
    if isinstance(error, ArchiveError):
        return error.what
    if isinstance(error, OSError):
        return plain(error.strerror or str(error))
    return plain(str(error) or type(error).__name__)
