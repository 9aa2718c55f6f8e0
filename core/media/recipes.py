"""The recipes that go by a name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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
                    WebVideo(name="master", crf=12, copy_if_fit=False),
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


def recipe_named(name: str) -> Recipe:
    """Return a ready-made recipe.

    Raises:
        ValueError: no recipe has that name; the message names those there are.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}") from None
