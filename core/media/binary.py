"""Which ffmpeg runs: named by the caller, else FFMPEG_BINARY, else the bundled one, else the one on PATH.

The bundled binary comes before PATH because two ffmpeg versions write different bytes for the same input.
"""

import functools
import os
import shutil
import subprocess

import imageio_ffmpeg

from prefect_ltx.media.errors import FfmpegFailed


def ffmpeg_binary(explicit: str | None = None) -> str:
    """Return the path of the ffmpeg executable to use.

    Raises:
        FfmpegFailed: none is found, or the one that was named cannot be run.
    """
    for source, named in (("the setting", explicit), ("FFMPEG_BINARY", os.environ.get("FFMPEG_BINARY"))):
        if named:
            found = shutil.which(named)
            if found is None:
                raise FfmpegFailed(
                    f"{source} names {named!r} as ffmpeg, which is no executable file; correct or unset it."
                )
            return found
    return _bundled_or_on_path()


def ffmpeg_version(binary: str | None = None) -> str:
    """Return the version of the ffmpeg in use, such as `9.0.2`; asked once per binary.

    Raises:
        FfmpegFailed: ffmpeg is missing or does not answer.
    """
    return _version_of(ffmpeg_binary(binary))


@functools.cache
def _bundled_or_on_path() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        on_path = shutil.which("ffmpeg")
    if on_path is None:
        raise FfmpegFailed(
            "no ffmpeg was found: install imageio-ffmpeg with its binary, put ffmpeg on PATH, "
            "or name one in FFMPEG_BINARY."
        )
    return on_path


@functools.cache
def _version_of(binary: str) -> str:
    try:
        answer = subprocess.run(
            [binary, "-hide_banner", "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FfmpegFailed(f"{binary} does not answer to -version ({type(error).__name__}).") from error
    words = answer.stdout.decode(errors="replace").split()
    # "ffmpeg version 9.0.2-… Copyright …"
    if words[:2] != ["ffmpeg", "version"] or len(words) < 3:
        raise FfmpegFailed(f"{binary} is not ffmpeg; name the right one in FFMPEG_BINARY.")
    return words[2]
