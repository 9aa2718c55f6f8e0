"""Write-once storage of finished videos in a folder or on S3: manifest last, every byte verifiable."""

from prefect_ltx.archive.additions import Addition, addition_key, addition_name
from prefect_ltx.archive.backend import Incoming, StoredFile, Weakness
from prefect_ltx.archive.errors import (
    ArchiveConflict,
    ArchiveCorrupt,
    ArchiveDenied,
    ArchiveError,
    ArchiveKeyInvalid,
    ArchiveNotFound,
    ArchiveUnavailable,
    ManifestUnreadable,
)
from prefect_ltx.archive.gallery import GalleryReport
from prefect_ltx.archive.gallery_notes import ClipCost, ClipNote, GalleryNotes
from prefect_ltx.archive.keys import check_key, folder_for
from prefect_ltx.archive.manifest import ArchivedFile, InputFile, Manifest, manifest_schema, schema_document
from prefect_ltx.archive.manifest_records import Ancestor, ApprovalRecord, QualityRecord, RecordedFinding
from prefect_ltx.archive.rehydrate import RehydrateReport
from prefect_ltx.archive.reproduce import fill_media, reproduce
from prefect_ltx.archive.store import Archive
from prefect_ltx.archive.verify import AlteredFile, VerifyProgress, VerifyReport

__all__ = [
    "Addition",
    "AlteredFile",
    "Ancestor",
    "ApprovalRecord",
    "Archive",
    "ArchiveConflict",
    "ArchiveCorrupt",
    "ArchiveDenied",
    "ArchiveError",
    "ArchiveKeyInvalid",
    "ArchiveNotFound",
    "ArchiveUnavailable",
    "ArchivedFile",
    "ClipCost",
    "ClipNote",
    "GalleryNotes",
    "GalleryReport",
    "Incoming",
    "InputFile",
    "Manifest",
    "ManifestUnreadable",
    "QualityRecord",
    "RecordedFinding",
    "RehydrateReport",
    "StoredFile",
    "VerifyProgress",
    "VerifyReport",
    "Weakness",
    "addition_key",
    "addition_name",
    "check_key",
    "fill_media",
    "folder_for",
    "manifest_schema",
    "reproduce",
    "schema_document",
]
