"""Where a request's media come from, and the sha256 of their content, before anything is spent.

A source is a local path, `file://`, `s3://bucket/key`, `http(s)://` or a `data:` URI. Whatever it is, its bytes
end up in a local file: the generation's key holds the content, never a URL, and fal is given exactly the bytes
that were hashed.
"""

import asyncio
import hashlib
import secrets
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel

from prefect_ltx.fal import FalError, FalRequestInvalid, GenerationRequest, media_kind
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.work_folders import INPUTS
from prefect_ltx.ledger import Generation
from prefect_ltx.media import Converted, MediaError, as_reference, probe, sha256_file
from prefect_ltx.reading import Unreadable, is_file, local_path, why_no_media

MAX_INPUT_BYTES = 2 << 30
CONTENT_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}


class MediaDigest(BaseModel, frozen=True):
    """What is remembered of one input: its content, and where it came from only if others know that place too."""

    sha256: str
    size: int
    """Bytes."""
    content_type: str
    name: str
    width: int
    height: int
    original: str = ""
    """The sha256 of the file that it was converted from; empty where it was not."""
    note: str = ""
    """What a plan says of a conversion."""
    source: str = ""
    """Its `s3://` address, for lineage; a path on this machine and an address that may be secret are not kept."""

    @property
    def content(self) -> str:
        """The sha256 by which a generation is known: of the user's own file, whatever converts it."""
        return self.original or self.sha256


@dataclass(frozen=True)
class InputMedia:
    """One input as a local file that was probed and hashed."""

    path: Path
    digest: MediaDigest
    fetched: bool
    """True where `path` is our own copy, to be removed after use."""
    stamp: tuple[int, int, int]
    """The file's inode, size and time of change when it was hashed."""

    def check_unchanged(self) -> None:
        """Make sure that the file still is what was hashed.

        Raises:
            FalRequestInvalid: it is not, or it is gone.
        """
        if _stamp(self.path) != self.stamp:
            raise FalRequestInvalid(f"{self.digest.name} changed while it was used; run it again")

    def discard(self) -> None:
        """Remove our copy; a user's own file stays."""
        if self.fetched:
            self.path.unlink(missing_ok=True)


async def fetch_input(
    services: Services, source: str, *, kind: Literal["video", "image", "any"] = "any"
) -> InputMedia:
    """Bring one input to this machine, check that it is the kind of media that is needed, and hash it.

    Raises:
        FalRequestInvalid: missing, unreadable or the wrong kind of media; nothing was sent or spent.
    """
    try:
        path, name = await _to_file(services, source)
        original, note = "", ""
        if (converted := await _converted(services, path, kind)) is not None:
            original, note = (
                await asyncio.to_thread(sha256_file, path),
                converted.what.replace(path.name, name, 1),
            )
            if _is_ours(services, path):
                path.unlink(missing_ok=True)
            path, name = converted.path, f"{Path(name).stem}{converted.path.suffix}"
        stamp = _stamp(path)
        info = await asyncio.to_thread(probe, path)
    except (MediaError, OSError, FalError) as error:
        raise FalRequestInvalid(f"cannot use {describe(source)}: {_reason(error)}") from error
    if kind not in ("any", info.kind):
        raise FalRequestInvalid(f"{describe(source)} is {info.kind}, not {kind}")
    digest = MediaDigest(
        sha256=await asyncio.to_thread(sha256_file, path),
        size=path.stat().st_size,
        content_type=CONTENT_TYPES.get(info.container, "application/octet-stream"),
        name=name,
        width=info.width,
        height=info.height,
        original=original,
        note=note,
        source=describe(source) if source.startswith("s3://") else "",
    )
    return InputMedia(path, digest, _is_ours(services, path), stamp)


@dataclass(frozen=True)
class InputFile:
    """A file that fal does not see, such as music, as a local file that was hashed."""

    path: Path
    name: str
    sha256: str
    fetched: bool
    """True where `path` is our own copy, to be removed after use."""

    def discard(self) -> None:
        """Remove our copy; a user's own file stays."""
        if self.fetched:
            self.path.unlink(missing_ok=True)


async def fetch_file(services: Services, source: str) -> InputFile:
    """Bring any file to this machine and hash it; what is in it is for the caller to read.

    Raises:
        FalRequestInvalid: missing or unreadable.
    """
    try:
        path, name = await _to_file(services, source)
        sha256 = await asyncio.to_thread(sha256_file, path)
    except (OSError, FalError) as error:
        raise FalRequestInvalid(f"cannot use {describe(source)}: {_reason(error)}") from error
    return InputFile(path, name, sha256, _is_ours(services, path))


async def fetch_inputs(services: Services, request: GenerationRequest) -> dict[str, InputMedia]:
    """Every media field of a request, by its name, each of the kind that the field takes.

    Raises:
        FalRequestInvalid: naming the field.
    """
    inputs: dict[str, InputMedia] = {}
    for field, source in request.media().items():
        try:
            inputs[field] = await fetch_input(services, source, kind=media_kind(field))
        except FalRequestInvalid as error:
            raise FalRequestInvalid(f"{field}: {error.what}") from error
    return inputs


async def inputs_again(services: Services, generation: Generation, stay: AsyncExitStack) -> dict[str, Path]:
    """The media of a submitted generation as local files, from where fal reads them; `stay` removes them.

    Left out is what is no longer there or no longer the same: this is for comparing, and costs nothing.
    """
    found: dict[str, Path] = {}
    for field, digest in generation.asked.get("media", {}).items():
        source = generation.body.get(field)
        if not isinstance(source, str):
            continue
        try:
            media = await fetch_input(services, source)
        except FalRequestInvalid:
            continue
        stay.callback(media.discard)
        if media.digest.sha256 == digest.get("sha256"):
            found[field] = media.path
    return found


async def _converted(
    services: Services, path: Path, kind: Literal["video", "image", "any"]
) -> Converted | None:
    folder = services.options.work_dir / INPUTS
    folder.mkdir(parents=True, exist_ok=True)
    return await as_reference(path, folder, kind=kind)


def _is_ours(services: Services, path: Path) -> bool:
    return path.parent == services.options.work_dir / INPUTS


def describe(source: str) -> str:
    """A source as it may be shown: no query string (it may be a signature), no data."""
    if source.startswith("data:"):
        return "the data URI"
    if source.startswith("s3://"):
        return source.partition("?")[0]  # a # is part of a key's name
    try:
        parts = urlsplit(source)
        if parts.scheme in ("http", "https"):
            return f"{parts.scheme}://{parts.hostname or parts.netloc}{parts.path}"
    except ValueError:
        return "the address"
    return repr(source)


def _reason(error: Exception) -> str:
    if isinstance(error, FalError):
        return error.what
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


async def _to_file(services: Services, source: str) -> tuple[Path, str]:
    if why := why_no_media(source):
        raise FalRequestInvalid(why)
    parts = urlsplit(source)
    name = "inline" if parts.scheme == "data" else Path(unquote(parts.path)).name or "input"
    if parts.scheme in ("http", "https", "data"):
        path = _temporary(services, source)
        await services.client.download(source, path, on_progress=_bounded)
        return path, name
    if parts.scheme == "s3":
        path = _temporary(services, source)
        await asyncio.to_thread(_from_s3, source, path)
        return path, name
    try:
        path = local_path(unquote(parts.path) if parts.scheme == "file" else source).absolute()
    except Unreadable as error:
        raise FalRequestInvalid(error.what) from None
    if not is_file(path):
        raise FileNotFoundError(
            f"there is no such file on {socket.gethostname()}, the machine that this runs on"
        )
    if path.stat().st_size > MAX_INPUT_BYTES:
        raise OSError(f"larger than {MAX_INPUT_BYTES >> 30} GiB")
    return path, path.name


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _bounded(done: int, total: int | None) -> None:
    if max(done, total or 0) > MAX_INPUT_BYTES:
        raise FalRequestInvalid(f"it is larger than {MAX_INPUT_BYTES >> 30} GiB")


def _temporary(services: Services, source: str) -> Path:
    # A name of its own for each fetch: what a URL serves may change between two runs.
    folder = services.options.work_dir / INPUTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}-{secrets.token_hex(4)}"


def _from_s3(source: str, path: Path) -> None:
    import s3fs  # 0.3 s of imports that only s3:// inputs need

    s3fs.S3FileSystem(use_listings_cache=False).get_file(source, str(path))
