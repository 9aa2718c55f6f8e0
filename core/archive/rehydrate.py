"""Bringing an archive back: every file that a manifest names into a local folder, each checked by its sha256.

What is there already with the right bytes is not read again, so a broken run is simply repeated. The result is
an archive itself: `Archive(folder)` reads, verifies and shows it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import BaseModel, Field, computed_field

from prefect_ltx.archive.additions import Addition, addition_keys, read_additions
from prefect_ltx.archive.additions import folder_of as addition_folder
from prefect_ltx.archive.backend import Backend, StoredFile
from prefect_ltx.archive.errors import ArchiveCorrupt, ArchiveError, ArchiveUnavailable
from prefect_ltx.archive.folder_writes import inside
from prefect_ltx.archive.keys import check_key
from prefect_ltx.archive.manifest import ArchivedFile, Manifest
from prefect_ltx.archive.reading import folder_of, manifest_keys, read_manifests
from prefect_ltx.archive.verify import VerifyProgress

Fetch = Callable[[str, Path, ArchivedFile], Awaitable[StoredFile]]


class RehydrateReport(BaseModel):
    """What was brought back. `ok`: everything that a manifest names is in `folder`, byte by byte."""

    location: str
    folder: str
    generations: int = 0
    additions: int = Field(default=0, description="Further renditions of a generation, made later.")
    files: int = Field(default=0, description="Fetched or there already, and checked.")
    bytes: int = 0
    fetched: int = 0
    failed: list[str] = Field(default_factory=list, description="One line for each file, with the reason.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Nothing is missing."""
        return not self.failed


async def rehydrate_archive(
    backend: Backend,
    fetch: Fetch,
    folder: Path,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> RehydrateReport:
    """Fetch what manifests name into `folder`; a manifest is written after its files.

    Raises:
        ArchiveError: the archive cannot be listed, or the folder not be made.
    """
    report = RehydrateReport(location=backend.location, folder=str(folder))
    there = await backend.list("")
    keys = manifest_keys(there)
    found: dict[str, Manifest | Addition] = {}
    async for key, manifest in read_manifests(backend, keys, despite_errors=True):
        if isinstance(manifest, Manifest):
            found[key] = manifest
        else:
            report.failed.append(manifest.what)
    manifests = {folder_of(key): each for key, each in found.items() if isinstance(each, Manifest)}
    async for key, added in read_additions(backend, addition_keys(there), manifests):
        if isinstance(added, Addition):
            found[key] = added
        else:
            report.failed.append(added.what)
    work = _Rehydration(fetch, folder, report, asyncio.Semaphore(backend.parallel), on_progress)
    await work.run(found)
    report.failed.sort()
    return report


class _Rehydration:
    def __init__(
        self,
        fetch: Fetch,
        folder: Path,
        report: RehydrateReport,
        slots: asyncio.Semaphore,
        on_progress: Callable[[VerifyProgress], None] | None,
    ) -> None:
        self._fetch = fetch
        self._folder = folder
        self._report = report
        self._slots = slots
        self._on_progress = on_progress
        self._done = (0, 0)
        self._total = (0, 0)

    async def run(self, manifests: dict[str, Manifest | Addition]) -> None:
        files = [file for manifest in manifests.values() for file in manifest.files]
        self._total = (len(files), sum(file.size for file in files))
        async with asyncio.TaskGroup() as group:
            for key, manifest in manifests.items():
                group.create_task(self._generation(key, manifest))

    async def _generation(self, key: str, manifest: Manifest | Addition) -> None:
        folder = folder_of(key) if isinstance(manifest, Manifest) else addition_folder(key)
        whole = await asyncio.gather(*(self._file(folder, file) for file in manifest.files))
        if not all(whole):
            return
        try:
            await asyncio.to_thread(_write, self._folder, self._folder / key, manifest.to_bytes())
        except (OSError, ArchiveError) as error:
            what = error.what if isinstance(error, ArchiveError) else error.strerror or str(error)
            self._report.failed.append(f"{key}: {what}")
        else:
            self._report.generations += isinstance(manifest, Manifest)
            self._report.additions += isinstance(manifest, Addition)

    async def _file(self, folder: str, file: ArchivedFile) -> bool:
        key = f"{folder}/{file.name}"
        async with self._slots:
            try:
                await self._one(check_key(key), file)
            except ArchiveError as error:
                self._report.failed.append(f"{key}: {error.what}")
                return False
            finally:
                self._done = (self._done[0] + 1, self._done[1] + file.size)
                if self._on_progress is not None:
                    self._on_progress(
                        VerifyProgress(self._done[0], self._total[0], self._done[1], self._total[1])
                    )
        self._report.files += 1
        self._report.bytes += file.size
        return True

    async def _one(self, key: str, file: ArchivedFile) -> None:
        path = self._folder / key
        try:
            if await asyncio.to_thread(_is_here, path, file):
                return
            await asyncio.to_thread(_make_parent, self._folder, path)
        except OSError as error:
            raise ArchiveUnavailable(f"{path} cannot be written: {error.strerror}") from error
        stored = await self._fetch(key, path, file)
        if stored.size != file.size:
            raise ArchiveCorrupt(f"{key} has {stored.size} bytes, its manifest says {file.size}")
        self._report.fetched += 1


def _is_here(path: Path, file: ArchivedFile) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _make_parent(folder: Path, path: Path) -> None:
    """Make the folder of a file; a link in it must not lead out of where everything is brought."""
    inside(folder, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)


def _write(folder: Path, path: Path, data: bytes) -> None:
    _make_parent(folder, path)
    temporary = path.with_name(f".ltx-{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)
