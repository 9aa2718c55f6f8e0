"""The pictures that shots start from: the last frame of another shot's chosen take, taken from its archived clip.

A picture is kept in the archive under the clip's content, write-once: another machine or another ffmpeg then gives fal
the very same bytes, and a shot that starts from it is not bought again.
"""

import asyncio
import hashlib
import tempfile
from pathlib import Path

from PIL import Image

from prefect_ltx.archive import ArchiveConflict, Manifest
from prefect_ltx.film import Storyboard, TakePolicy
from prefect_ltx.flows.defects import verdict_of
from prefect_ltx.flows.take import local_video
from prefect_ltx.generation import PlanReport, Services
from prefect_ltx.generation.work_folders import SHEETS, own_folder
from prefect_ltx.media import last_frame, sha256_file


async def start_picture(services: Services, manifest: Manifest, *, keep: bool) -> Path:
    """The last frame of an archived clip as a local PNG; with `keep` it is put into the archive where it is missing.

    Raises:
        ArchiveError: the clip cannot be read, or is not what its manifest says.
        MediaError: it cannot be decoded.
    """
    video = manifest.video
    assert video is not None  # every generation's manifest names one
    key = f"frames/{video.sha256[:32]}-last.png"
    with own_folder(services.options.work_dir, SHEETS) as folder:
        picture = folder / "last.png"
        if await services.archive.exists(key):
            await services.archive.fetch(key, picture)
        else:
            clip = await local_video(services, manifest, folder / "clip.mp4")
            await last_frame(clip, picture)
            if keep:
                picture = await _kept(services, key, picture)
        return await _shared(picture, folder.parent)


def stand_in_picture(services: Services, board: Storyboard) -> Path:
    """A picture for planning a shot whose start is not made yet: its price does not depend on what is on it."""
    folder = services.options.work_dir / SHEETS
    folder.mkdir(parents=True, exist_ok=True)
    width, height = board.size
    path = folder / f"not-made-yet-{width}x{height}.png"
    if not path.is_file():
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".png", delete=False) as file:
            Image.new("RGB", board.size, (96, 96, 96)).save(file, "PNG")
        Path(file.name).replace(path)
    return path


async def archived_takes(services: Services, policy: TakePolicy, reports: list[PlanReport]) -> list[Manifest]:
    """The archived takes that a shot's film may be made of, by its plan; none where one is still to be made."""
    found: list[Manifest] = []
    for report in reports:
        if report.status != "archived" or report.key is None:
            return []
        rows = await services.ledger.find(keys=(report.key,), live=True)
        folder = rows[0].folder if rows else None
        manifest = await services.archive.manifest(folder) if folder else None
        if manifest is None:
            return []
        if policy.n == 1:
            return [manifest]
        if verdict_of(manifest).passed:
            if policy.stop == "first_pass":
                return [manifest]
            found.append(manifest)
    return found


async def _kept(services: Services, key: str, picture: Path) -> Path:
    try:
        sha256 = await asyncio.to_thread(sha256_file, picture)
        await services.archive.put_file(key, picture, sha256=sha256, content_type="image/png")
    except ArchiveConflict:
        # Another run was first, with another ffmpeg.
        await services.archive.fetch(key, picture)
    return picture


async def _shared(picture: Path, folder: Path) -> Path:
    # By its own bytes, as sheets are: whoever has the name has the same picture.
    digest = hashlib.sha256(await asyncio.to_thread(picture.read_bytes)).hexdigest()
    return picture.replace(folder / f"{digest}.png")
