"""pydantic's complaints about a request as one readable line a field."""

import difflib
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.field_problem import FieldProblem

_VALUE_ERROR = "Value error, "
_UNION_BRANCHES = ("ImageSize", "literal[")


def invalid_request(error: ValidationError, model: type[BaseModel], name: str) -> FalRequestInvalid:
    """`error`, raised by validating `model`, as the error a person reads; `name` is the endpoint's."""
    return FalRequestInvalid(f"Not a valid request for {name}", fields=_problems(error, model))


def _problems(error: ValidationError, model: type[BaseModel]) -> list[FieldProblem]:
    found: dict[tuple[str | int, ...], FieldProblem] = {}
    for detail in error.errors(include_url=False, include_context=False):
        if not _other_union_branch(detail):
            loc = tuple(part for part in detail["loc"] if not str(part).startswith(_UNION_BRANCHES))
            found.setdefault(loc, FieldProblem(loc, _message(detail, model), detail["type"]))
    return list(found.values())


def _other_union_branch(detail: ErrorDetails) -> bool:
    """True for the complaint of the branch not meant: a mapping means a size, text a preset."""
    if not any(str(part).startswith(_UNION_BRANCHES) for part in detail["loc"]):
        return False
    if detail["type"] == "literal_error":
        return isinstance(detail["input"], Mapping | BaseModel)
    return detail["type"] == "model_type"


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
        name = str(detail["loc"][0])
        close = difflib.get_close_matches(name, model.model_fields, n=1)
        return (
            f"no such field; did you mean {close[0]}?"
            if close
            else ("no such field; one that fal has added since goes into extra_arguments")
        )
    return detail["msg"].removeprefix(_VALUE_ERROR)
