"""This machine: ffmpeg and the encoders that recipes need, PyAV, and room on its disks."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from prefect_ltx.archive import Archive, ArchiveError
from prefect_ltx.doctor.findings import Finding, error, ok, warning
from prefect_ltx.media import MediaError, ffmpeg_binary, ffmpeg_version
from prefect_ltx.settings import Settings

ENCODERS: Final = {
    "libx264": "MP4 renditions",
    "aac": "sound",
    "libwebp_anim": "moving previews",
    "mjpeg": "posters and contact sheets",
}
GIGABYTE: Final = 1_000_000_000
LITTLE, TOO_LITTLE = 2 * GIGABYTE, GIGABYTE // 5


def check_machine(settings: Settings) -> list[Finding]:
    """ffmpeg, PyAV, disks."""
    return [*_ffmpeg(), _pyav(), *_disks(settings)]


def _ffmpeg() -> list[Finding]:
    remedy = "Install imageio-ffmpeg with its binary, or name a full ffmpeg build in FFMPEG_BINARY."
    try:
        binary = ffmpeg_binary()
        found = [ok("ffmpeg", f"{binary}, version {ffmpeg_version()}")]
        listing = subprocess.run(
            [binary, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (MediaError, OSError, subprocess.SubprocessError) as problem:
        return [error("ffmpeg", f"ffmpeg does not run: {problem}", remedy)]
    # " V....D libx264    libx264 H.264 …": the name is the second word.
    has = {line.split()[1] for line in listing.splitlines() if len(line.split()) > 1}
    missing = [f"{name} ({use})" for name, use in ENCODERS.items() if name not in has]
    if missing:
        return [*found, error("ffmpeg", f"This ffmpeg has no encoder {', '.join(missing)}", remedy)]
    return [*found, ok("ffmpeg", f"It has the encoders {', '.join(ENCODERS)}")]


def _pyav() -> Finding:
    try:
        import av
    except (ImportError, OSError) as problem:
        return error("PyAV", f"PyAV cannot be imported: {problem}", "pip install --force-reinstall av")
    return ok("PyAV", f"version {av.__version__}")


def _disks(settings: Settings) -> list[Finding]:
    places = {"work folder": settings.home, "temporary folder": Path(tempfile.gettempdir())}
    try:
        if (folder := Archive(settings.archive_location).folder) is not None:
            places["archive"] = folder
    except ArchiveError:
        pass  # said by the archive's own check
    return [_disk(name, path) for name, path in places.items()]


def _disk(name: str, path: Path) -> Finding:
    there = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    try:
        free = shutil.disk_usage(there).free
    except OSError as problem:
        return warning("disk", f"{name} {path}: {problem.strerror}", "Name a folder that can be read.")
    what = f"{free / GIGABYTE:.1f} GB free for the {name} {path}"
    if free < TOO_LITTLE:
        return error(
            "disk", what, "Make room: a paid video that cannot be written stays at fal, and expires there."
        )
    if free < LITTLE:
        return warning(
            "disk", what, "Make room, or name another place (PREFECT_LTX_HOME, PREFECT_LTX_ARCHIVE)."
        )
    return ok("disk", what)
