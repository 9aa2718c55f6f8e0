"""What fal says about a bad request, after the queue: a 422 with one entry a field (fal-protocol §5.1)."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prefect_ltx.fal import GenerationRequest, endpoint_models
from prefect_ltx.local.errors import ModelError, problem

_UNION_BRANCHES = ("ImageSize", "literal[")


def served() -> dict[str, type[GenerationRequest]]:
    """The endpoints that this server has, by their full id."""
    return {model.ENDPOINT: model for model in endpoint_models()}


def validated(endpoint: str, body: object) -> GenerationRequest:
    """The request that a wire body holds. Fields the page does not name are ignored (fal-protocol §10.2).

    Raises:
        ModelError: 422, as fal words it.
    """
    model = served()[endpoint]
    if not isinstance(body, Mapping):
        raise ModelError(422, [problem((), "Input should be a valid dictionary", "dict_type", given=body)])
    known = {name: value for name, value in body.items() if name in wire_fields(model)}
    # As fal reads it: without its video the switch does nothing.
    if known.get("control_video_url") is None and known.get("skip_control_preprocess") is True:
        del known["skip_control_preprocess"]
    try:
        return model.model_validate(known)
    except ValidationError as error:
        raise ModelError(422, _problems(error)) from None


def wire_fields(model: type[BaseModel]) -> list[str]:
    """The fields that travel under their own name; `extra_arguments` is this package's, not fal's."""
    return [name for name in model.model_fields if name != "extra_arguments"]


def _problems(error: ValidationError) -> list[dict[str, Any]]:
    found = [
        _problem(detail) for detail in error.errors(include_url=False) if not _other_union_branch(detail)
    ]
    return found or [problem((), "Invalid request", "value_error")]


def _problem(detail: ErrorDetails) -> dict[str, Any]:
    loc = tuple(part for part in detail["loc"] if not str(part).startswith(_UNION_BRANCHES))
    context = {
        key: value for key, value in detail.get("ctx", {}).items() if isinstance(value, int | float | str)
    }
    kind, message = detail["type"], detail["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        kind = "one_of"
        names = str(context.get("expected", "")).replace(" or ", ", ").split(", ")
        return problem(
            loc, message, kind, given=detail["input"], context={"expected": [n.strip("'") for n in names]}
        )
    if kind == "string_too_short":
        kind = "sequence_too_short"
    return problem(loc, message, kind, given=detail["input"], context=context)


def _other_union_branch(detail: ErrorDetails) -> bool:
    """Whether this is the complaint of the branch of `resolution` that was not meant."""
    if not any(str(part).startswith(_UNION_BRANCHES) for part in detail["loc"]):
        return False
    if detail["type"] == "literal_error":
        return isinstance(detail["input"], Mapping)
    return detail["type"] in ("model_type", "model_attributes_type")
