"""Settings from Prefect's own files, where there are any: `prefect.toml`, `pyproject.toml`, `.env` and the profile.

Prefect reads them, by the base of its settings (as its AWS collection does), once `blocks` has handed its sources
over. A command that needs nothing else of Prefect loads it only where one of the files speaks of this package.
"""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

TABLE: Final = ("ltx",)
"""The table in `prefect.toml`; in `pyproject.toml` it is `[tool.prefect.ltx]`."""
_MOST_BYTES: Final = 1 << 20


class NamedSource(NamedTuple):
    """A file's settings, and what the file is called."""

    name: str
    source: PydanticBaseSettingsSource


Reader = Callable[[type[BaseSettings]], Sequence[NamedSource]]
_reader: list[Reader] = []


def read_with(reader: Reader) -> None:
    """Read files with this from now on."""
    _reader[:] = [reader]


def sources_for(settings: type[BaseSettings]) -> Sequence[NamedSource]:
    """The files' settings, the strongest first; none where no file speaks of this package."""
    if not any(map(_speaks_of_us, files())):
        return ()
    if not _reader:
        # Not imported by name: what is above this room stays above it, and only a file asks for it.
        import_module("prefect_ltx.blocks.prefect_files")
    return _reader[0](settings)


def files() -> list[Path]:
    """The files that Prefect reads here."""
    home = os.environ.get("PREFECT_HOME") or os.path.expanduser("~/.prefect")
    profiles = os.environ.get("PREFECT_PROFILES_PATH") or os.path.join(home, "profiles.toml")
    return [Path("prefect.toml"), Path("pyproject.toml"), Path(".env"), Path(profiles)]


def _speaks_of_us(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES)
    except OSError:
        return False
    if file.name == "pyproject.toml":
        return b"tool.prefect" in text and b"ltx" in text
    return b"ltx" in text.lower() or b"FAL_KEY" in text
