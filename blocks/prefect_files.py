"""How Prefect reads its files, for the settings of this package: by the base class of its own settings."""

from collections.abc import Sequence

import prefect.settings.sources as prefect_sources
from prefect.settings.base import PrefectBaseSettings
from pydantic_settings import BaseSettings, InitSettingsSource

from prefect_ltx.settings_files import NamedSource, read_with


def prefect_files(settings: type[BaseSettings]) -> Sequence[NamedSource]:
    """What Prefect reads beside the environment, in its order: `.env`, prefect.toml, pyproject.toml, the profile."""
    nothing = InitSettingsSource(settings, {})
    found = PrefectBaseSettings.settings_customise_sources.__func__(  # type: ignore[attr-defined]
        settings, settings, nothing, nothing, nothing, nothing
    )
    return [NamedSource(name, each) for each in found if (name := _name(each))]


def _name(source: object) -> str:
    match source:
        case prefect_sources.FilteredDotEnvSettingsSource():
            return ".env"
        case prefect_sources.PrefectTomlConfigSettingsSource():
            return "prefect.toml"
        case prefect_sources.PyprojectTomlConfigSettingsSource():
            return "pyproject.toml"
        case prefect_sources.ProfileSettingsTomlLoader():
            return f"the Prefect profile in {source.profiles_path}"
    return ""


read_with(prefect_files)
