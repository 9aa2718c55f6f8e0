"""What several machines have to share, refused before anything is spent where it lies on one of them.

Two ledgers that do not know of each other buy the same video twice; an archive on one machine's disk is missing
on all others.
"""

from pathlib import Path
from typing import Final

from prefect_ltx.archive import Archive
from prefect_ltx.durability import MOUNTS, file_system
from prefect_ltx.ledger import Ledger
from prefect_ltx.settings import Settings, SettingsError

NETWORK: Final = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
    *("virtiofs", "ocfs2", "gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone"),
    *("fuse.gcsfuse", "fuse.mount-s3", "fuse.juicefs", "fuse.blobfuse2"),
)
"""Linux' names of file systems that other machines may mount as well."""

_WAY_OUT: Final = "PREFECT_LTX_DISTRIBUTED=no if all of it does run on one machine"


def refuse_unshared(
    ledger: Ledger, archive: Archive | None, settings: Settings, reason: str | None = None
) -> None:
    """Refuse to work with what the machines of this work cannot share; `archive` None: it is not used here.

    Several machines are known from `PREFECT_LTX_DISTRIBUTED`, from `reason` (what the run says), or from the
    ledger, which notes who uses it.

    Raises:
        SettingsError: naming what is not shared, how that is known, and the remedy. Nothing was sent or spent.
    """
    if settings.distributed is False:
        return
    others = ledger.note_machine()
    if settings.distributed:
        reason = "PREFECT_LTX_DISTRIBUTED says that several machines share this work"
    elif others and reason is None:
        reason = f"the machine {others[0].host} uses this ledger as well"
    if reason is None:
        return
    if ledger.file is not None:
        raise SettingsError(
            f"{_sentence(reason)}, and the SQLite ledger {ledger.name} is one machine's. Nothing was sent or "
            f"spent. Set PREFECT_LTX_LEDGER to a postgresql:// URL for all of them, or {_WAY_OUT}."
        )
    if archive is not None and archive.folder is not None and network_file_system(archive.folder) is None:
        raise SettingsError(
            f"{_sentence(reason)}, and the archive {archive.location} is a folder on this machine's disk. "
            "Nothing was sent or spent. Set PREFECT_LTX_ARCHIVE to s3://bucket/prefix or to a folder that all "
            f"of them mount, or {_WAY_OUT}."
        )


def network_file_system(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the network file system that `path` is on; None for this machine's own, or where unknown."""
    kind, _ = file_system(path, mounts)
    return kind if kind in NETWORK else None


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:]
