"""Places, files and manifests for the archive's tests."""

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from s3_servers import S3Server

from prefect_ltx.archive import Archive, ArchivedFile, Manifest

FOLDER = "2026/11/21/ingredient-0123456789abcdef"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def manifest(files: dict[str, bytes] | None = None, **changes: Any) -> Manifest:
    """A manifest of `files` (name to content; the role is the name's stem)."""
    described = [
        ArchivedFile(
            role=name.partition(".")[0],
            name=name,
            sha256=sha(data),
            size=len(data),
            content_type="video/mp4" if name.endswith("mp4") else "image/jpeg",
        )
        for name, data in (files or {}).items()
    ]
    values: dict[str, Any] = {
        "generation_key": "0123456789abcdef" * 4,
        "endpoint": "fal-ai/ltx-2.3-quality/ingredient",
        "account": "fedcba9876543210",
        "request": {"prompt": "A boat", "image_url": "https://v3.fal.media/files/a.png", "num_frames": 121},
        "request_id": "11111111-2222-3333-4444-555555555555",
        "seed": 42,
        "prompt_sent": "A boat",
        "price_expected_usd": Decimal("0.4020525"),
        "files": described,
        "created_at": datetime(2026, 11, 21, 12, 0, tzinfo=UTC),
        "folder": FOLDER,
    }
    return Manifest(**{**values, **changes})


async def archive_generation(archive: Archive, files: dict[str, bytes], **changes: Any) -> Manifest:
    """Store `files` and their manifest, as a finished generation does."""
    made = manifest(files, **changes)
    for file in made.files:
        await archive.put_bytes(
            f"{made.folder}/{file.name}", files[file.name], content_type=file.content_type
        )
    await archive.publish(made)
    return made


@dataclass
class Place:
    """Where the conformance suite runs: an archive, and a way to change its files behind its back."""

    kind: str
    archive: Archive
    server: S3Server | None = None
    bucket: str = ""

    def _at(self, key: str) -> Path:
        return Path(self.archive.location, key)

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"films/2026/{key}"}

    def tamper(self, key: str, data: bytes) -> None:
        if self.server is None:
            self._at(key).parent.mkdir(parents=True, exist_ok=True)
            self._at(key).write_bytes(data)
        else:
            self.server.client().put_object(**self._object(key), Body=data)

    def remove(self, key: str) -> None:
        if self.server is None:
            self._at(key).unlink()
        else:
            self.server.client().delete_object(**self._object(key))

    def leave_unfinished(self) -> None:
        """What a killed writer leaves."""
        if self.server is None:
            self.tamper("2026/.ltx-0123456789abcdef.part", b"half a file")
        else:
            self.server.client().create_multipart_upload(**self._object("2026/video.mp4"))

    def unfinished(self) -> int:
        if self.server is None:
            return len(list(Path(self.archive.location).rglob("*.part")))
        return len(self.server.client().list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))
