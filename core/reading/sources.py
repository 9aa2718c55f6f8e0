"""The bytes of what a person named: a file, `s3://bucket/key` or `https://…`; what else it may be gets the remedy.

The size is bounded while it is read, only regular files are opened, and no query string gets into a message.
"""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx

from prefect_ltx.fal import FalError, plain, strip_url
from prefect_ltx.fal.environment import new_sync_client
from prefect_ltx.fal.sendable import trimmed, why_not_text
from prefect_ltx.fal.urls import redirected, why_not_fetchable
from prefect_ltx.reading.problems import Unreadable
from prefect_ltx.reading.texts import MOST_BYTES

_MAX_REDIRECTS: Final = 5
_MOST_SECONDS: Final = 300.0
_TIMEOUT: Final = httpx.Timeout(30.0)
_TYPES: Final = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/yaml": ".yaml",
    "text/yaml": ".yaml",
    "application/x-yaml": ".yaml",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}


@dataclass(frozen=True)
class Source:
    """What was named, read."""

    name: str
    """The file's name, without its folder."""
    suffix: str
    """In small letters: `.csv`."""
    data: bytes
    folder: Path | str
    """What relative paths in it are relative to: a folder, or the address before the last slash."""


def read_bytes(source: str | Path, *, most: int = MOST_BYTES) -> Source:
    """Read a file, an object or an address, at most `most` bytes.

    Raises:
        Unreadable: it cannot be read; the message names it without a query string, and what to do.
    """
    text = str(source)
    scheme = scheme_of(text)
    if scheme == "s3":
        return _from_s3(text, most)
    if scheme in ("http", "https"):
        return _from_web(text, most)
    if scheme == "file":
        text = unquote(urlsplit(text).path)
    elif scheme:
        raise Unreadable(f"cannot read {plain(text)}: {why_not_read(scheme)}")
    path = local_path(text)
    return Source(path.name, path.suffix.lower(), _from_file(path, most), path.absolute().parent)


def scheme_of(text: str) -> str:
    """The scheme of an address in small letters; empty for a path, also one that begins with a drive letter."""
    head, mark, _ = text.strip().partition("://")
    if mark and head.isascii() and head.replace("+", "").replace("-", "").replace(".", "").isalnum():
        return head.lower()
    return "data" if text[:5].lower() == "data:" else ""


def why_not_read(scheme: str) -> str:
    """What to do about an address of this scheme."""
    if scheme == "gs":
        return "gs:// is not read: copy it here with gcloud storage cp, or give an https:// address of it"
    if scheme in ("az", "abfs", "abfss", "wasb"):
        return f"{scheme}:// is not read: copy it here with azcopy, or give an https:// address of it"
    if scheme == "data":
        return "a data URI is no file: write it into one"
    return f"{scheme[:20]}:// is not read: give a path, s3:// or https://"


def why_no_media(text: str) -> str:
    """Why media cannot be fetched from an address, as far as it says so itself; empty where nothing does."""
    scheme = scheme_of(text)
    if scheme in ("", "file", "s3", "data"):
        return ""
    return why_not_fetchable(text) if scheme in ("http", "https") else why_not_read(scheme)


def is_local(text: str) -> bool:
    """Whether a text names a file of this machine."""
    return scheme_of(text) in ("", "file")


def local_path(text: str) -> Path:
    """A path as a person wrote it, `~` and `~name` replaced.

    Raises:
        Unreadable: no path can be that, or there is no such home.
    """
    if why := why_not_text(text):
        raise Unreadable(f"cannot read {plain(ascii(text), 200)}: {why}")
    try:
        return Path(trimmed(text)).expanduser()
    except RuntimeError:
        home = trimmed(text).replace("\\", "/").partition("/")[0]
        raise Unreadable(
            f"cannot read {plain(text, 200)}: there is no home folder {home[:60]} here; write the path in full"
        ) from None


def placed(value: str, folder: Path | str | None) -> str:
    """Where a media field's value lies that was written in `folder`: relative paths are below it.

    Raises:
        Unreadable: it is a path that cannot be one.
    """
    text = trimmed(value)
    if folder is None or not text or scheme_of(text) or text[:5].lower() == "data:":
        return text
    if isinstance(folder, str):
        # s3://bucket/prefix; an absolute path is one of the machine that runs the batch.
        return text if text[0] in "/~" else f"{folder}/{text.removeprefix('./')}"
    return str(folder / local_path(text))


def is_file(path: Path) -> bool:
    """Whether a file is there; False too for what no file can be called."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _from_file(path: Path, most: int) -> bytes:
    try:
        # Not blocking: a pipe that nobody writes to would be waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError("", "it is a folder")
            if not stat.S_ISREG(mode):
                raise OSError(0, "it is no regular file")
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        raise Unreadable(f"cannot read {plain(path, 300)}: {why}") from None
    return _bounded(data, most, str(path))


def _bounded(data: bytes, most: int, name: str) -> bytes:
    if len(data) > most:
        size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most >> 10} KB"
        raise Unreadable(f"cannot read {plain(name, 300)}: it is larger than {size}")
    return data


def _from_s3(url: str, most: int) -> Source:
    import s3fs  # 0.3 s of imports that only s3:// sources need

    url = trimmed(url)
    shown = plain(url, 300)
    folder, _, name = url.rpartition("/")
    try:
        files: Any = s3fs.S3FileSystem(use_listings_cache=False)
        # One more than is taken: an object that grew since it was listed must not fill the memory.
        data: bytes = files.cat_file(url, start=0, end=most + 1)
    except FileNotFoundError:
        raise Unreadable(f"cannot read {shown}: there is no such object") from None
    except Exception as error:  # s3fs lets errors of botocore and aiohttp through
        raise Unreadable(f"cannot read {shown}: S3 does not give it ({type(error).__name__})") from None
    return Source(
        name, PurePosixPath(name.partition("?")[0]).suffix.lower(), _bounded(data, most, url), folder
    )


def _from_web(url: str, most: int) -> Source:
    url = trimmed(url)
    shown = strip_url(url)
    began = time.monotonic()
    try:
        with new_sync_client(_TIMEOUT) as client:
            for _ in range(_MAX_REDIRECTS + 1):
                if why := why_not_fetchable(url):
                    raise Unreadable(f"cannot read {shown}: {why}")
                with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
                    if response.is_redirect:
                        url = redirected(url, response.headers.get("location", ""))
                        continue
                    return _answer(response, url, shown, most, began)
    except httpx.HTTPError as error:
        raise Unreadable(f"cannot read {shown}: the connection failed ({type(error).__name__})") from None
    except FalError as error:
        raise Unreadable(f"cannot read {shown}: {error.what}") from None
    raise Unreadable(f"cannot read {shown}: more than {_MAX_REDIRECTS} redirects")


def _answer(response: httpx.Response, url: str, shown: str, most: int, began: float) -> Source:
    if response.status_code != 200:
        remedy = "; is a sign-in needed?" if response.status_code in (401, 403) else ""
        raise Unreadable(f"cannot read {shown}: the server answers HTTP {response.status_code}{remedy}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise Unreadable(
            f"cannot read {shown}: the server answers with a web page, not with a file; is a sign-in needed? Of a "
            "Google sheet give the address that ends in /export?format=csv"
        )
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > most:
            break
        if time.monotonic() - began > _MOST_SECONDS:
            raise Unreadable(
                f"cannot read {shown}: it hardly moves, {len(data)} bytes in {_MOST_SECONDS:.0f} s"
            )
    address = strip_url(url)
    name = unquote(PurePosixPath(urlsplit(address).path).name) or "batch"
    suffix = PurePosixPath(name).suffix.lower()
    if kind in _TYPES and suffix not in (*_TYPES.values(), ".yml", ".ndjson"):
        suffix = _TYPES[kind]
    return Source(name, suffix, _bounded(bytes(data), most, shown), address.rpartition("/")[0])
