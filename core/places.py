"""Where things lie that must last: the ledger, the archive, unfinished work, and the files that settings name.

A relative place is another folder in each working folder, and a Prefect worker runs a flow in a temporary folder that
it deletes at the run's end. So a place is made absolute where a person wrote it, and refused where only a working
folder could complete it:

- **A process that a person started** (a shell command, a script, a notebook, a service): its working folder is the one
  that the person meant. The command line also writes the absolute values into its environment, for what it starts.
- **A run that a worker started**: Prefect sets `PREFECT__FLOW_RUN_ID` for it and for everything that it starts.
  A relative place is refused there.
- **A stored block**: `save()` stores absolute places. One that is relative all the same, from the form of the UI, the
  API or an earlier release, is refused in every process: nobody knows any more which folder was meant.

`~` is the home of whoever runs the process. It depends on no working folder, so it is made absolute in the first two
cases, and refused in a stored block, which somebody else may have written.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, unquote

from prefect_ltx.fal.sendable import unquoted

Kind = Literal["path", "ledger", "archive"]

VARIABLES: Final[Mapping[str, Kind]] = {
    "PREFECT_LTX_HOME": "path",
    "PREFECT_LTX_LEDGER": "ledger",
    "PREFECT_LTX_ARCHIVE": "archive",
    "PREFECT_LTX_C2PA_CERTIFICATE": "path",
    "PREFECT_LTX_C2PA_KEY": "path",
}
"""Settings that are places, by the variable that holds them."""

DEPLOYED: Final = "PREFECT_LTX_DEPLOYED"
"""A JSON object that `prefect-ltx deploy` writes into job variables: the places of the shell that deployed."""

OLD_ARCHIVE: Final = "prefect-ltx-archive"
"""The default archive of earlier releases, below whatever folder a command was started in."""

EXAMPLES: Final[Mapping[Kind, str]] = {
    "path": "/var/lib/prefect-ltx",
    "ledger": "sqlite:////var/lib/prefect-ltx/ledger.db",
    "archive": "/var/lib/prefect-ltx/archive or s3://bucket/prefix",
}
_RUN: Final = "PREFECT__FLOW_RUN_ID"
_SQLITE: Final = re.compile(r"(?P<head>sqlite(?:\+pysqlite)?:///)(?P<path>[^?]*)(?P<query>\?.*)?", re.DOTALL)
_FILE_URI: Final = re.compile(r"file:(?://(?:localhost)?(?=/))?", re.IGNORECASE)


class SettingsError(Exception):
    """The configuration cannot work. Nothing was sent and nothing was spent."""


class _Split(NamedTuple):
    path: str
    join: Callable[[str], str]


_written: dict[str, str] = {}
"""What a person wrote, by variable, where `settle_environment` put an absolute place in its stead."""

_flags: dict[str, str] = {}
"""The command-line flag that a variable was set from."""


def in_workers_run(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a worker started this process for a flow run, so that its working folder means nothing."""
    return bool((os.environ if environ is None else environ).get(_RUN))


def is_relative(kind: Kind, text: str) -> bool:
    """Whether a working folder or a home is needed to say which place is meant."""
    split = _split(kind, text)
    return split is not None and not os.path.isabs(split.path)


def is_local(kind: Kind, text: str) -> bool:
    """Whether it is a place on one machine's disk: no bucket, and no database server."""
    return _split(kind, text) is not None


def absolute(kind: Kind, text: str, *, name: str) -> str:
    """The place in absolute form, as this process can know it.

    Args:
        kind: what it is: a folder or file, a ledger's URL, or an archive's location.
        text: the place as it was written; a bucket or a database server stays as it is.
        name: the setting or field, for the error.

    Raises:
        SettingsError: it is relative and this is a worker's run, or it names a home that is not there.
    """
    split = _split(kind, text)
    if split is None or os.path.isabs(split.path):
        return text if split is None else split.join(split.path)
    path = os.path.expanduser(split.path)
    if os.path.isabs(path):
        return split.join(path)
    if path.startswith("~"):
        raise SettingsError(
            f"{name} is {text}, and there is no such home folder here. Nothing was sent or spent. "
            f"Write an absolute place, such as {EXAMPLES[kind]}."
        )
    if in_workers_run():
        raise SettingsError(
            f"{name} is {text}, which is relative: in a worker's run it would lie in a temporary folder that is "
            "deleted at the run's end. Nothing was sent or spent. Write an absolute place into the worker's "
            f"environment or the deployment's job variables, such as {EXAMPLES[kind]}."
        )
    try:
        return split.join(str(Path(path).absolute()))
    except OSError:
        raise SettingsError(
            f"{name} is {text}, which is relative, and the working folder is gone. Nothing was sent or spent. "
            f"Write an absolute place, such as {EXAMPLES[kind]}."
        ) from None


def refuse_stored(kind: Kind, text: str, *, block: str, field: str) -> None:
    """Refuse a relative place that a stored block holds; `block` is its slug and name, such as video-archive/films.

    Raises:
        SettingsError: naming the block, the field and what to write instead.
    """
    if is_relative(kind, text):
        raise SettingsError(
            f"The stored block {block} holds the relative place {text} in its field {field}, and no run knows which "
            "folder was meant. Nothing was sent or spent. Save it again with an absolute place, such as "
            f"{EXAMPLES[kind]}."
        )


def settle_environment(environ: MutableMapping[str, str] | None = None) -> None:
    """Put absolute places into the environment of a command that a person started, for all that it starts.

    In a worker's run nothing is changed: `Settings` refuses a relative place there.

    Raises:
        SettingsError: a home is named that is not there.
    """
    environ = os.environ if environ is None else environ
    if in_workers_run(environ):
        return
    for name, kind in VARIABLES.items():
        text = unquoted(environ.get(name, ""))
        if text and (place := absolute(kind, text, name=name)) != environ[name]:
            _written[name] = environ[name]
            environ[name] = place
    binary = environ.get("FFMPEG_BINARY", "")
    if os.path.dirname(binary):
        environ["FFMPEG_BINARY"] = absolute("path", binary, name="FFMPEG_BINARY")


def set_by_flag(variable: str, value: str, flag: str) -> None:
    """Write what a command-line flag says into the variable that it stands for."""
    os.environ[variable] = value
    _flags[variable] = flag


def begin_command() -> None:
    """Forget what an earlier command of this process was given."""
    _flags.clear()
    _written.clear()


def default_home() -> Path:
    """`.prefect-ltx` in the home of whoever runs this.

    Raises:
        SettingsError: there is no home.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise SettingsError(
            "There is no home folder (HOME) for the ledger, the archive and unfinished work. Nothing was sent or "
            f"spent. Set PREFECT_LTX_HOME to a folder that lasts, such as {EXAMPLES['path']}."
        )
    return home / ".prefect-ltx"


def refuse_forgetting(archive: Path, folder: Path | None = None) -> None:
    """Refuse to begin an empty default archive beside one that an earlier release made in this folder.

    Args:
        archive: the default archive of this release.
        folder: where the command runs; None: the working folder.

    Raises:
        SettingsError: naming both, and the two ways to go on.
    """
    try:
        old = (folder or Path.cwd()) / OLD_ARCHIVE
        if archive.exists() or old == archive or not _has_manifest(old):
            return
    except OSError:
        return  # the working folder is gone, or the home cannot be entered, which is said where it is used
    raise SettingsError(
        f"{old} is an archive that an earlier release made as its default, and the default is {archive} now, which "
        "does not exist yet. Nothing was sent or spent. Go on with it: set "
        f"PREFECT_LTX_ARCHIVE={old}; or bring it to the new place: mkdir -p {archive.parent} && mv {old} {archive}; or "
        f"begin an empty one: mkdir -p {archive}."
    )


def deployed_places(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `prefect-ltx deploy` wrote for this run: variable to place, with `host` and `machine` of the shell.

    What cannot be read counts as nothing: it is not the user's own writing.
    """
    text = (os.environ if environ is None else environ).get(DEPLOYED, "")
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def flag_of(variable: str) -> str:
    """The command line's flag that set a variable, or the variable where none did."""
    return _flags.get(variable, variable)


def origin(variable: str, environ: Mapping[str, str] | None = None) -> str:
    """Who said where a place is, in a few words."""
    environ = os.environ if environ is None else environ
    if environ.get(variable, "").strip():
        source = flag_of(variable)
        return f"{source}, written as {_written[variable]}" if variable in _written else f"from {source}"
    deployed = deployed_places(environ)
    if deployed.get(variable):
        return f"from `prefect-ltx deploy` on {deployed.get('host', 'a machine')}"
    if variable != "PREFECT_LTX_HOME" and (
        environ.get("PREFECT_LTX_HOME") or deployed.get("PREFECT_LTX_HOME")
    ):
        return "the default, below PREFECT_LTX_HOME"
    return "the default, below HOME"


def _has_manifest(folder: Path) -> bool:
    return next(folder.rglob("manifest.json"), None) is not None


def _split(kind: Kind, text: str) -> _Split | None:
    """The part of a place that is a path on this machine, and how it is put back; None where it has none."""
    if kind == "ledger":
        return _split_ledger(text)
    if kind == "archive" and (uri := _FILE_URI.match(text)):
        rest = text[uri.end() :]
        return _Split(rest.removeprefix("//"), str)
    if kind == "archive" and "://" in text:
        return None
    return _Split(text, str)


def _split_ledger(url: str) -> _Split | None:
    found = _SQLITE.fullmatch(url)
    if found is None or found["path"] in ("", ":memory:"):
        return None
    head, path, query = found["head"], found["path"], found["query"] or ""
    if (uri := _FILE_URI.match(path)) is None:
        return _Split(path, lambda whole: f"{head}{whole}{query}")
    rest = unquote(path[uri.end() :])
    if rest == ":memory:" or "mode=memory" in query:
        return None
    return _Split(rest, lambda whole: f"{head}file:{quote(whole)}{query}")
