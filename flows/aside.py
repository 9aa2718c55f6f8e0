"""Where data lies that is too large for a run's parameters: in files that are named by their content."""

import asyncio
import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from prefect import Flow

from prefect_ltx.archive import Archive
from prefect_ltx.blocks.machines import runs_on_others
from prefect_ltx.fal import MEDIA_KINDS
from prefect_ltx.generation.work_folders import PARAMETERS
from prefect_ltx.settings import Settings, SettingsError

FOLDER = ".parameters"
"""Beside the generations of an archive, where several machines share the work."""

_SHORT = 1024
_OF_STORYBOARDS = ("images", "image", "video", "mid_image", "end_image", "voice", "file", "font")
_MEDIA = frozenset({*MEDIA_KINDS, *_OF_STORYBOARDS})
_TYPES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
}


@dataclass(frozen=True)
class Aside:
    """The place: a folder of this machine, or a bucket."""

    location: str
    _files: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What is put aside already, by its data URI: a batch may name one sheet a thousand times."""

    @classmethod
    def of(cls, flow: "Flow[Any, Any]") -> Self:
        """The place for what a flow is called with.

        Raises:
            SettingsError: several machines share the work and there is no place that all of them can read.
        """
        settings = Settings()
        elsewhere = "this work is shared" if settings.distributed else runs_on_others(flow.task_runner)
        if not elsewhere:
            settings.require_home()
            return cls(str(settings.home / "work" / PARAMETERS))
        if settings.archive_location.startswith("s3://"):
            return cls(f"{settings.archive_location}/{FOLDER}")
        raise SettingsError(
            f"The parameters of {flow.name} are too large for a Prefect server, and {elsewhere}: there is no place "
            "for them that all machines can read. Nothing was sent or spent. Set PREFECT_LTX_ARCHIVE to "
            "s3://bucket/prefix, or name files instead of giving their content."
        )

    async def media(self, source: str) -> str:
        """A data URI as a file; everything else, and what is no readable data URI, as it is."""
        if source[:5].lower() != "data:" or len(source) < _SHORT:
            return source
        if source in self._files:
            return self._files[source]
        head, comma, text = source[5:].partition(",")
        media_type, *options = head.split(";")
        try:
            content = unquote_to_bytes(text)
            if options[-1:] == ["base64"]:
                content = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            comma = ""
        if not comma:
            return source  # refused where it is read, in words of its own
        self._files[source] = await self._put(
            f"inline{_TYPES.get(media_type.strip().lower(), '.bin')}", content
        )
        return self._files[source]

    async def document(self, name: str, content: Any) -> str:
        """JSON types as a file, under a name that people may see."""
        data = json.dumps(content, ensure_ascii=False, indent=1).encode()
        return await self._put(re.sub(r"[^\w.-]+", "-", name).strip("-.")[-80:] or "batch.json", data)

    async def without_data(self, value: Any, name: str = "") -> Any:
        """The value with every data URI of a media field as a file."""
        if isinstance(value, Mapping):
            return {key: await self.without_data(part, str(key)) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [await self.without_data(part, name) for part in value]
        if isinstance(value, str) and (name in _MEDIA or name.endswith("_url")):
            return await self.media(value)
        return value

    async def _put(self, name: str, data: bytes) -> str:
        key = f"{hashlib.sha256(data).hexdigest()[:32]}/{name}"
        if self.location.startswith("s3://"):
            async with Archive(self.location) as archive:
                await archive.put_bytes(key, data, content_type="application/octet-stream")
            return f"{self.location}/{key}"
        path = Path(self.location, key)
        await asyncio.to_thread(_written, path, data)
        return str(path)


def _written(path: Path, data: bytes) -> None:
    """The file, whole; where it is there already, as good as new: the sweep clears old ones."""
    if path.is_file() and path.stat().st_size == len(data):
        os.utime(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
