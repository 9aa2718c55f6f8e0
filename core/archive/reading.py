"""Reading an archive: its manifests, several at a time, in the order of their folders, and single files out of it."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from prefect_ltx.archive.backend import Backend, StoredFile
from prefect_ltx.archive.errors import (
    ArchiveCorrupt,
    ArchiveError,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ArchiveUnavailable,
    ManifestUnreadable,
)
from prefect_ltx.archive.keys import MANIFEST_NAME, check_key
from prefect_ltx.archive.manifest import Manifest

D = TypeVar("D", covariant=True)

MOST_MANIFEST_BYTES: Final = 16 << 20
_MOST_SMALL_BYTES: Final = 64 << 20


def manifest_keys(keys: Iterable[str]) -> list[str]:
    """Return those keys that are a folder's manifest, sorted."""
    return sorted(key for key in keys if key.endswith(f"/{MANIFEST_NAME}"))


def folder_of(manifest_key: str) -> str:
    """Return the folder that a manifest lies in, which counts more than the one it names."""
    return manifest_key.removesuffix(f"/{MANIFEST_NAME}")


async def read_manifests(
    backend: Backend, keys: list[str], *, despite_errors: bool = False
) -> AsyncIterator[tuple[str, Manifest | ManifestUnreadable]]:
    """Yield each key with its manifest, or with the reason why it cannot be read; skip one that is gone.

    With `despite_errors` one that cannot be read now is such a reason as well, and does not hide the others.

    Raises:
        ArchiveError: one cannot be read now.
    """
    async for each in read_documents(backend, keys, Manifest.from_bytes, despite_errors=despite_errors):
        yield each


class _Parse(Protocol[D]):
    def __call__(self, data: bytes, *, name: str) -> D: ...


async def read_documents(
    backend: Backend, keys: list[str], parse: _Parse[D], *, despite_errors: bool = False
) -> AsyncIterator[tuple[str, D | ManifestUnreadable]]:
    """The same for another kind of document.

    Raises:
        ArchiveError: one cannot be read now.
    """
    batch = backend.parallel * 2
    for start in range(0, len(keys), batch):
        some = keys[start : start + batch]
        for key, found in zip(
            some,
            await asyncio.gather(*(_read(backend, key, parse, despite_errors) for key in some)),
            strict=True,
        ):
            if found is not None:
                yield key, found


async def read_small(backend: Backend, key: str) -> bytes:
    """Read a small file.

    Raises:
        ArchiveNotFound: no file has this key.
        ArchiveCorrupt: it has more than 64 MiB.
    """
    data = bytearray()
    async for chunk in backend.chunks(key):
        data += chunk
        if len(data) > _MOST_SMALL_BYTES:
            raise ArchiveCorrupt(f"{backend.url(key)} has more than {_MOST_SMALL_BYTES >> 20} MiB")
    return bytes(data)


async def fetch_file(
    backend: Backend, key: str, path: Path, *, sha256: str | None, size: int | None
) -> StoredFile:
    """Copy a file out of the archive to `path` atomically, replacing what is there; see `Archive.fetch`.

    Raises:
        ArchiveNotFound: no file has this key.
        ArchiveCorrupt: its bytes are not those of `sha256`, or more than `size`.
        ArchiveUnavailable: it cannot be read, or not written at `path`.
    """
    temporary = path.with_name(f".ltx-{secrets.token_hex(8)}.part")
    digest, got = hashlib.sha256(), 0
    try:
        file = await asyncio.to_thread(temporary.open, "xb")
        with file:
            async for chunk in backend.chunks(key):
                digest.update(chunk)
                got += await asyncio.to_thread(file.write, chunk)
                if size is not None and got > size:
                    raise ArchiveCorrupt(f"{backend.url(key)} has more bytes than its manifest says ({size})")
        if sha256 is not None and digest.hexdigest() != sha256:
            raise ArchiveCorrupt(f"{backend.url(key)} is not what its manifest says: its sha256 differs")
        temporary.replace(path)
    except OSError as error:
        raise ArchiveUnavailable(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return StoredFile(key=key, size=got, sha256=digest.hexdigest(), existed=True)


def shown(key: str) -> str:
    """A key as it can be printed and stored: a name on a disk need not be text."""
    return key.encode("utf-8", "backslashreplace").decode()


async def _read(
    backend: Backend, key: str, parse: _Parse[D], despite_errors: bool
) -> D | ManifestUnreadable | None:
    data = bytearray()
    try:
        check_key(key)
    except ArchiveKeyInvalid as problem:
        return ManifestUnreadable(f"{shown(key)} cannot be read: {problem.what}")
    try:
        async for chunk in backend.chunks(key):
            data += chunk
            if len(data) > MOST_MANIFEST_BYTES:
                return ManifestUnreadable(
                    f"{backend.url(key)} is no manifest: more than {MOST_MANIFEST_BYTES >> 20} MiB"
                )
        return parse(bytes(data), name=backend.url(key))
    except ArchiveNotFound:
        return None
    except ManifestUnreadable as problem:
        return problem
    except ArchiveError as problem:
        if despite_errors or isinstance(problem, ArchiveCorrupt):
            return ManifestUnreadable(shown(problem.what))
        raise
