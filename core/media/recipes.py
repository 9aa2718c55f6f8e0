"""The recipes that go by a name, and those that come from a file."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from prefect_ltx.media.recipe import (
    AudioFile,
    ContactSheet,
    HlsVideo,
    LoudnessTarget,
    Poster,
    Preview,
    ProxyVideo,
    Recipe,
    SocialVideo,
    Thumbnails,
    WebVideo,
)
from prefect_ltx.reading import Unreadable, read_bytes, read_yaml, text_of

_LARGEST: Final = 1 << 20

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Recipe(name="web", outputs=(Poster(), ContactSheet(), WebVideo(), Preview())),
            Recipe(
                name="social",
                outputs=(
                    Poster(),
                    SocialVideo(aspect="9:16"),
                    SocialVideo(aspect="4:5"),
                    SocialVideo(aspect="1:1"),
                    Preview(),
                ),
            ),
            Recipe(
                name="broadcast",
                loudness=LoudnessTarget(lufs=-23, true_peak=-1.0),
                outputs=(
                    Poster(),
                    WebVideo(name="master", crf=12, preset="medium", copy_if_fit=False),
                    AudioFile(format="wav"),
                ),
            ),
            Recipe(
                name="review",
                loudness=LoudnessTarget(lufs=-16),
                outputs=(
                    Poster(),
                    ContactSheet(frames=24, columns=6),
                    ProxyVideo(),
                    HlsVideo(),
                    Thumbnails(),
                ),
            ),
            Recipe(name="none", loudness=None),
        )
    }
)
"""`web`, `social`, `broadcast`, `review` and `none`, in this order."""


class RecipeUnreadable(Exception):
    """A file holds no recipe; the message names what is wrong with it, on one line."""


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a JSON or YAML file; also s3:// or https://.

    Raises:
        RecipeUnreadable: no such file, neither JSON nor YAML, a name twice, or no recipe: every wrong field is named.
    """
    try:
        source = read_bytes(path, most=_LARGEST)
        document = read_yaml(text_of(source.data))  # JSON is YAML too
        document.refuse_faults()
    except Unreadable as error:
        text = str(error)
        raise RecipeUnreadable(text if text.startswith("cannot read") else f"{path}: {text}") from None
    try:
        return Recipe.model_validate(document.value)
    except ValidationError as error:
        wrong = []
        for each in error.errors(include_url=False, include_input=False):
            place = document.place(each["loc"])
            line = f" (line {place.line})" if place else ""
            wrong.append(f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}{line}")
        raise RecipeUnreadable(f"{path} is no recipe: {'; '.join(wrong)}") from None


def recipe_named(name: str) -> Recipe:
    """Return a ready-made recipe.

    Raises:
        ValueError: no recipe has that name; the message names those there are.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}") from None
