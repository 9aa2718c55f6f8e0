"""What the flows' run forms show and refuse beyond fal's own fields: choices, bounds and text areas.

A Prefect server checks a run's parameters against the deployment's JSON schema before the run exists, and the flow
checks them again. Each type here says the same to both.
"""

import re
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from prefect_ltx.fal import AnyRequest, IngredientRequest, ReferenceVideoRequest, price_usd
from prefect_ltx.fal.fields import PRESET_SIZES
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


class _AsForm:
    """Shows a request in a form: what is missing or wrong is named by its field, sizes have prices, and none is chosen
    without a word.

    A form sends nothing for a size where a person has opened the list of sizes and chosen none, and ingredient's
    default is eleven times as dear as the smallest: so a form has to send one, while Python may leave it out.
    """

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        shown = handler(schema)
        references = shown.get("anyOf", [shown])
        models = [handler.resolve_ref_schema(each) for each in references]
        for model in models:
            _as_form(model, handler)
        if len(models) == 1:
            return shown
        tabs = [_loose(each, handler) for each in models]
        return shown | {"anyOf": tabs} | _held_to_one(references, models)


def _as_form(model: dict[str, Any], handler: GetJsonSchemaHandler) -> None:
    fields = model["properties"]
    titles = {name: field["title"] for name, field in fields.items() if "_" in name}
    for field in fields.values():
        if field.get("pattern") == r"\S":
            field["pattern"] = _BLANK
        # A form shows its fields by their titles only.
        field["description"] = re.sub(
            r"\w+_\w+", lambda name: titles.get(name[0], name[0]), field.get("description", "")
        )
    size = fields["resolution"]
    for each in size["anyOf"]:
        if "$ref" not in each:
            each["title"] = "Named size"
            continue
        pixels = handler.resolve_ref_schema(each)
        pixels["title"] = "Width and height"
        for side in pixels["properties"].values():
            if side.pop("exclusiveMinimum", None) == 0:
                side["minimum"] = 1
    if _PRICES not in size["description"]:  # two endpoints may share the description
        size["description"] = f"{size['description']} {_PRICES}"
    if size["default"] != "auto":
        model["required"] = sorted({*model.get("required", []), "resolution"})


def _loose(part: dict[str, Any], handler: GetJsonSchemaHandler) -> dict[str, Any]:
    """A tab of the form, which refuses as little as can be: of what is wrong, `_held_to_one` names the field."""
    if "$ref" in part:
        part = handler.resolve_ref_schema(part)
    loose = {name: value for name, value in part.items() if name not in _BOUNDS}
    if "anyOf" in loose:
        loose["anyOf"] = [_loose(each, handler) for each in loose["anyOf"]]
    if "properties" in loose:
        loose["properties"] = {name: _loose(field, handler) for name, field in loose["properties"].items()}
    return loose


def _held_to_one(references: list[dict[str, Any]], models: list[dict[str, Any]]) -> dict[str, Any]:
    """The schema of one model, told from the fields that only this one has."""
    rest: list[dict[str, Any]] = []
    branches: list[tuple[list[dict[str, Any]], dict[str, Any]]] = []
    for reference, model in zip(references, models, strict=True):
        others = {name for each in models if each is not model for name in each["properties"]}
        own = [name for name in model["properties"] if name not in others]
        if set(own) & set(model.get("required", [])):
            branches.append(([{"required": [name]} for name in own], reference))
        else:
            rest.append(reference)
    if not rest:
        rest.append(branches.pop()[1])
    held: dict[str, Any] = dict(rest[0]) if len(rest) == 1 else {"anyOf": rest}
    for signs, reference in reversed(branches):
        held = {"if": {"anyOf": signs}, "then": reference, "else": held}
    return held


_BOUNDS: Final = frozenset(
    (
        "pattern",
        "minLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "additionalProperties",
        "propertyNames",
    )
)
_FRAMES: Final = 121
_BLANK: Final = r"(?!)must not be blank|\S"
"""Takes what is not blank. The first half fits nothing: Prefect's server gives the pattern as its only reason."""


def _prices() -> str:
    """What the named sizes cost, and that which the form opens with."""
    default = IngredientRequest.model_fields["resolution"].default
    sizes = {f"{name} ({width}x{height})": (width, height) for name, (width, height) in PRESET_SIZES.items()}
    sizes[f"{default.width}x{default.height}"] = (default.width, default.height)
    priced = sorted((price_usd(*size, _FRAMES), name) for name, size in sizes.items())
    listed = ", ".join(f"{name} ${price.quantize(Decimal('0.01'), ROUND_UP)}" for price, name in priced)
    return f"{_FRAMES} frames at fal's list price: {listed}."


_PRICES: Final = _prices()
MotionRequest: TypeAlias = Annotated[ReferenceVideoRequest, _AsForm()]
SheetRequest: TypeAlias = Annotated[IngredientRequest, _AsForm()]
OneRequest: TypeAlias = Annotated[AnyRequest, _AsForm()]


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
