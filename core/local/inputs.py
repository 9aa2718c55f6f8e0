"""The media a request names, brought to disk: from the stand-in's own files, a data URI, or another http(s)
URL.

Nothing else is opened: a path or another scheme in a request is a 422, never a read of this machine's files.
"""

import asyncio
import base64
import binascii
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import httpx

from prefect_ltx.fal import media_kind
from prefect_ltx.local.errors import ModelError, problem
from prefect_ltx.local.origin import area_of_host
from prefect_ltx.local.outbound import LocalAddressRefused
from prefect_ltx.local.site import Site
from prefect_ltx.media import MediaInfo, MediaInvalid, plain_picture, probe
from prefect_ltx.media.verify import verify_image

MAX_BYTES: Final = {"video": 1024**3, "image": 128 * 1024**2}
_TIMEOUT: Final = httpx.Timeout(60, connect=10)
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
_NOT_TAKEN: Final = ("avif", "ts", "avi")
_VIDEO_FORMATS: Final = ["mp4", "mov", "webm", "mkv", "gif"]


async def fetch_media(site: Site, field: str, url: str, folder: Path) -> tuple[Path, MediaInfo]:
    """The file behind `url`, with what it is; of the kind that the field takes.

    Raises:
        ModelError: 422 file_download_error, file_too_large, unsupported_video_format or image_load_error.
    """
    kind = "video" if media_kind(field) == "video" else "image"
    path = await _to_disk(site, field, url, folder / field, MAX_BYTES[kind])
    try:
        info = await asyncio.to_thread(probe, path)
        if kind == "image" and info.kind == "image":
            await verify_image(path)
            # What is rendered is the picture as a viewer shows it.
            path = await plain_picture(path, folder)
        if info.container in _NOT_TAKEN:
            raise MediaInvalid(path.name, [f"{info.container} files are not taken"])
    except MediaInvalid as error:
        raise _unusable(field, url, kind, "; ".join(error.problems)) from None
    moves = info.kind == "video" or info.frames > 1
    if kind == "video" and not moves:
        raise _unusable(field, url, kind, f"is a {info.container} image")
    if kind == "image" and info.kind != "image":
        raise _unusable(field, url, kind, f"is a {info.container} video")
    return path, info


def own_path(url: str) -> str | None:
    """The path of a URL that may be one of our files; the port may be that of a server that was killed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    if parts.hostname not in _LOOPBACK and area_of_host(parts.hostname) != "cdn":
        return None
    path = unquote(parts.path).removeprefix("/cdn")
    return path if path.startswith("/files/") else None


async def _to_disk(site: Site, field: str, url: str, target: Path, limit: int) -> Path:
    if url.startswith("data:"):
        return await asyncio.to_thread(_decode, field, url, target, limit)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _download_error(field, url, "Not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _download_error(field, url, "Only http(s) URLs and data URIs can be read")
    if (own := own_path(url)) is not None and (row := await site.files.find(own)) is not None:
        return site.files.disk(row)
    return await _download(site, field, url, target, limit)


async def _download(site: Site, field: str, url: str, target: Path, limit: int) -> Path:
    size = 0
    try:
        async with (
            site.outbound(timeout=_TIMEOUT, follow_redirects=True, max_redirects=5) as client,
            client.stream("GET", url) as response,
        ):
            if response.status_code != 200:
                raise _download_error(field, url, f"The server answered {response.status_code}")
            with target.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    size += len(chunk)
                    if size > limit:
                        raise _too_large(field, url, limit)
                    file.write(chunk)
    except LocalAddressRefused as error:
        raise _download_error(field, url, f"It is {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _download_error(field, url, type(error).__name__) from None
    return target


def _decode(field: str, url: str, target: Path, limit: int) -> Path:
    header, comma, payload = url.partition(",")
    try:
        data = (
            base64.b64decode(unquote_to_bytes(payload), validate=True)
            if header.endswith(";base64")
            else unquote_to_bytes(payload)
        )
    except (binascii.Error, ValueError):
        raise _download_error(field, url, "The data URI cannot be decoded") from None
    if not comma or not data:
        raise _download_error(field, url, "The data URI is empty")
    if len(data) > limit:
        raise _too_large(field, url, limit)
    target.write_bytes(data)
    return target


def _download_error(field: str, url: str, reason: str) -> ModelError:
    message = f"Failed to download the file. {reason}. Please check if the URL is accessible and try again."
    return ModelError(422, [problem((field,), message, "file_download_error", given=url)])


def _too_large(field: str, url: str, limit: int) -> ModelError:
    message = f"File size exceeds the maximum allowed size of {limit} bytes"
    return ModelError(
        422, [problem((field,), message, "file_too_large", given=url, context={"max_size": limit})]
    )


def _unusable(field: str, url: str, kind: str, reason: str) -> ModelError:
    if kind == "image":
        message = f"Failed to load the image: {reason}. Please ensure the image file is not corrupted."
        return ModelError(422, [problem((field,), message, "image_load_error", given=url)])
    message = f"Unsupported video format: {reason}. Supported formats: {', '.join(_VIDEO_FORMATS)}"
    return ModelError(
        422,
        [
            problem(
                (field,),
                message,
                "unsupported_video_format",
                given=url,
                context={"supported_formats": _VIDEO_FORMATS},
            )
        ],
    )
