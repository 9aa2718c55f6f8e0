"""Is every archived byte what its manifest says it is, and is each video the one that its manifest describes.

Reads everything: the files are hashed several at a time, on a folder in threads, from S3 as they arrive. The size,
frames, sound and title that an MP4 says of itself are compared in the same pass. One bad file is named and the others
are checked all the same.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field, computed_field

from prefect_ltx.archive.additions import Addition, addition_keys, read_additions
from prefect_ltx.archive.additions import folder_of as addition_folder
from prefect_ltx.archive.backend import Backend
from prefect_ltx.archive.errors import ArchiveError, ArchiveKeyInvalid, ArchiveNotFound
from prefect_ltx.archive.keys import GALLERY_NAME, check_key
from prefect_ltx.archive.manifest import ArchivedFile, Manifest
from prefect_ltx.archive.mp4_facts import Mp4Watcher, contradictions
from prefect_ltx.archive.reading import folder_of, manifest_keys, read_manifests, shown


class VerifyProgress(NamedTuple):
    """Files and bytes checked so far, and how many there are."""

    files: int
    total_files: int
    bytes: int
    total_bytes: int


class AlteredFile(BaseModel):
    """A file whose bytes are not those its manifest names; sizes in bytes."""

    key: str
    expected_sha256: str
    found_sha256: str | None = Field(description="None where the size alone tells.")
    expected_size: int
    found_size: int


class Contradiction(BaseModel):
    """A file whose bytes are as archived, and which is not what its manifest says: `what` is different."""

    key: str
    what: list[str]


class VerifyReport(BaseModel):
    """What a check found. `ok`: nothing missing, altered, unreadable or contradicting; unlisted files are no damage.

    `unlisted` files lie in the archive without a manifest that names them: an unfinished generation, what a
    crash left, or strangers.
    """

    location: str
    generations: int = 0
    additions: int = Field(default=0, description="Further renditions of a generation, made later.")
    files: int = 0
    bytes: int = 0
    missing: list[str] = Field(default_factory=list)
    altered: list[AlteredFile] = Field(default_factory=list)
    unreadable: list[str] = Field(default_factory=list)
    contradicting: list[Contradiction] = Field(default_factory=list)
    unlisted: list[str] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Every file that a manifest names is there, unchanged, and what the manifest says."""
        return not (self.missing or self.altered or self.unreadable or self.contradicting)


async def verify_archive(
    backend: Backend, on_progress: Callable[[VerifyProgress], None] | None = None
) -> VerifyReport:
    """Check the whole archive behind a backend.

    Raises:
        ArchiveError: the archive cannot be read now, so nothing can be said of it.
    """
    report = VerifyReport(location=backend.location)
    there = await backend.list("")
    expected: dict[str, _Expected] = {}
    listed = {GALLERY_NAME}
    manifests: dict[str, Manifest] = {}
    async for key, found in read_manifests(backend, manifest_keys(there), despite_errors=True):
        listed.add(key)
        if not isinstance(found, Manifest):
            report.unreadable.append(found.what)
            continue
        report.generations += 1
        manifests[folder_of(key)] = found
        for file in found.files:
            try:
                expected[check_key(f"{folder_of(key)}/{file.name}")] = _Expected(file, _title(found, file))
            except ArchiveKeyInvalid as problem:
                report.unreadable.append(f"{key}: {problem.what}")
    async for key, added in read_additions(backend, addition_keys(there), manifests):
        listed.add(key)
        if not isinstance(added, Addition):
            report.unreadable.append(added.what)
            continue
        report.additions += 1
        for file in added.files:
            # A manifest's own word counts more than an addition's.
            expected.setdefault(f"{addition_folder(key)}/{file.name}", _Expected(file, None))
    report.missing = sorted(set(expected) - set(there))
    report.unlisted = sorted(map(shown, set(there) - set(expected) - listed))
    await _Checker(backend, report, on_progress).check(
        {key: file for key, file in expected.items() if key in there}, there
    )
    report.altered.sort(key=lambda each: each.key)
    report.contradicting.sort(key=lambda each: each.key)
    report.missing.sort()
    return report


class _Expected(NamedTuple):
    file: ArchivedFile
    title: str | None
    """What a film is called; None for every other file."""


def _title(manifest: Manifest, file: ArchivedFile) -> str | None:
    # A film's manifest has its lineage beside the fields of every manifest; the archive knows it as plain data only.
    film = (manifest.model_extra or {}).get("film")
    title = film.get("title") if isinstance(film, dict) and file.role == "video" else None
    return title if isinstance(title, str) else None


class _Checker:
    def __init__(
        self, backend: Backend, report: VerifyReport, on_progress: Callable[[VerifyProgress], None] | None
    ) -> None:
        self._backend = backend
        self._report = report
        self._on_progress = on_progress
        self._total: tuple[int, int] = (0, 0)
        self._slots = asyncio.Semaphore(backend.parallel)

    async def check(self, expected: dict[str, _Expected], there: dict[str, int]) -> None:
        self._total = (len(expected), sum(there[key] for key in expected))
        async with asyncio.TaskGroup() as group:
            for key, each in expected.items():
                group.create_task(self._check(key, each, there[key]))

    async def _check(self, key: str, expected: _Expected, size: int) -> None:
        file, report = expected.file, self._report
        watcher = Mp4Watcher()
        async with self._slots:
            try:
                outcome, sha256 = await self._look(key, file, size, watcher)
            except ArchiveError as error:
                # Of this file nothing can be said now; of the others it can.
                outcome, sha256 = "unreadable", None
                report.unreadable.append(f"{key}: {error.what}")
        found = watcher.facts() if outcome == "whole" else None
        if found is not None and (wrong := contradictions(file.facts, expected.title, found)):
            report.contradicting.append(Contradiction(key=key, what=wrong))
        if outcome == "missing":
            report.missing.append(key)
        elif outcome == "altered":
            report.altered.append(
                AlteredFile(
                    key=key,
                    expected_sha256=file.sha256,
                    found_sha256=sha256,
                    expected_size=file.size,
                    found_size=size,
                )
            )
        report.files += 1
        report.bytes += size
        if self._on_progress is not None:
            self._on_progress(VerifyProgress(report.files, self._total[0], report.bytes, self._total[1]))

    async def _look(
        self, key: str, file: ArchivedFile, size: int, watcher: Mp4Watcher
    ) -> tuple[Literal["whole", "altered", "missing", "unreadable"], str | None]:
        if size != file.size:
            return "altered", None
        digest = hashlib.sha256()
        try:
            async for chunk in self._backend.chunks(key):
                await asyncio.to_thread(digest.update, chunk)
                if file.content_type == "video/mp4":
                    watcher.feed(chunk)
        except ArchiveNotFound:
            return "missing", None
        found = digest.hexdigest()
        return ("whole" if found == file.sha256 else "altered"), found
