"""Reading the manifests of an archive, several at a time, in the order of their folders."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final, Protocol, TypeVar

from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.errors import (
    ArchiveCorrupt,
    ArchiveError,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ManifestUnreadable,
)
from prefect_ltx.archive.keys import MANIFEST_NAME, check_key
from prefect_ltx.archive.manifest import Manifest

D = TypeVar("D", covariant=True)

MOST_MANIFEST_BYTES: Final = 16 << 20


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
