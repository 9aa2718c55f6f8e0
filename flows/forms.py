"""What the flows' run forms show and refuse beyond fal's own fields: choices, bounds and text areas.

A Prefect server checks a run's parameters against the deployment's JSON schema before the run exists, and the flow
checks them again. Each type here says the same to both.
"""

from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field, WithJsonSchema

from prefect_ltx.film.takes import MOST_TAKES
from prefect_ltx.media import Recipe, recipe_named
from prefect_ltx.media.recipes import RECIPES

DAY: Final = 24 * 3600.0
MOST_AT_FAL: Final = 40
"""fal runs 2 requests at once for a new account, and 40 at most, in steps that it grants."""


# The flow itself refuses another name, in words of its own and before anything is sent.
RecipeChoice: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": list(RECIPES)})] | Recipe
ApprovalDays: TypeAlias = Annotated[float, Field(gt=0, le=366, allow_inf_nan=False)]
AnimaticHash: TypeAlias = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
AtOnce: TypeAlias = Annotated[int, Field(ge=1, le=MOST_AT_FAL)]
TakesCount: TypeAlias = Annotated[int, Field(ge=1, le=MOST_TAKES)]
JudgeName: TypeAlias = Annotated[str, Field(pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)?$")]
Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
GenerationName: TypeAlias = Annotated[str, Field(min_length=1)]

# From Python a batch may be any iterable, so only what comes as JSON is described.
BatchSource: TypeAlias = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "title": "File"},
                {"type": "array", "items": {"type": "object"}, "minItems": 1, "title": "Requests"},
            ]
        }
    ),
]
StoryboardSource: TypeAlias = Annotated[
    str | Path | dict[str, Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "textarea", "minLength": 1, "title": "File or YAML"},
                {"type": "object", "title": "Content"},
            ]
        }
    ),
]


def check_recipe(recipe: str | Recipe) -> None:
    """Refuse an unknown recipe while nothing is paid for.

    Raises:
        ValueError: naming those there are.
    """
    if not isinstance(recipe, str):
        return
    try:
        recipe_named(recipe)
    except ValueError as error:
        raise ValueError(f"{error}. Nothing was sent or spent.") from None
