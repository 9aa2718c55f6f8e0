"""An archive copied to another place, a folder to a bucket or back: every file, each manifest after what it names."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from prefect_ltx.archive.store import Archive

_LAST = ("manifest.json", "index.html")


class CopiedArchive(BaseModel):
    """What was copied. Running it again copies what is missing, and nothing twice."""

    source: str
    target: str
    files: int = 0
    bytes: int = 0
    there_already: int = 0


async def copy_archive(
    source: Archive, target: Archive, on_file: Callable[[int, int], None] = lambda done, total: None
) -> CopiedArchive:
    """Copy every file of an archive; `on_file` is given how many are done, and of how many.

    Nothing in the target is overwritten but the gallery's page, which both make anew.

    Raises:
        ArchiveConflict: the target has another file under a name; it stays, and what was copied so far is there.
        ArchiveError: one of them cannot be used now; run it again.
    """
    report = CopiedArchive(source=source.location, target=target.location)
    keys = sorted(await source.list(), key=lambda key: (_rank(key), key))
    with tempfile.TemporaryDirectory(prefix="prefect-ltx-copy-") as folder:
        path = Path(folder) / "file"
        for number, key in enumerate(keys, 1):
            fetched = await source.fetch(key, path)
            if key == "index.html":
                await target.put_bytes(key, path.read_bytes(), content_type="text/html", overwrite=True)
            else:
                stored = await target.put_file(key, path, sha256=fetched.sha256)
                report.there_already += stored.existed
            report.files += 1
            report.bytes += fetched.size
            on_file(number, len(keys))
    return report


def _rank(key: str) -> int:
    name = key.rpartition("/")[2]
    return 1 + _LAST.index(name) if name in _LAST else 0
