"""The endpoints this package knows, and a request of any of them from data.

`register_endpoint` makes another endpoint of the same contract known everywhere: to files, batches, storyboards,
keys, prices, the ledger's recovery, the embedded fal, the command line, and to the forms of flows that are asked for
afterwards.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from prefect_ltx.fal import fields as f
from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.ingredient import IngredientRequest
from prefect_ltx.fal.problems import invalid_request
from prefect_ltx.fal.reference_video import ReferenceVideoRequest
from prefect_ltx.fal.request import GenerationRequest

APP: Final = "fal-ai/ltx-2.3-quality"
_MODELS: Final[dict[str, type[GenerationRequest]]] = {}


def register_endpoint(model: type[GenerationRequest]) -> type[GenerationRequest]:
    """Make an endpoint known by its request model; usable as a decorator. Registering a model twice has no effect.

    Raises:
        ValueError: another model has this endpoint or its short name.
    """
    endpoint, name = model.ENDPOINT.strip("/"), endpoint_name(model.ENDPOINT)
    for known in _MODELS.values():
        if known is not model and name == endpoint_name(known.ENDPOINT):
            raise ValueError(f"{endpoint}: {known.__name__} is registered as {known.ENDPOINT}")
    f.know_media_kinds(model.MEDIA_KINDS)
    _MODELS[endpoint] = model
    return model


def forget_endpoint(model: type[GenerationRequest]) -> None:
    """Take back a registration, for tests."""
    _MODELS.pop(model.ENDPOINT.strip("/"), None)


def endpoint_models() -> tuple[type[GenerationRequest], ...]:
    """Every known request model, in the order of registration."""
    return tuple(_MODELS.values())


def endpoint_model(endpoint: str) -> type[GenerationRequest] | None:
    """The model of an endpoint, by its full id or its short name; None where it is not known."""
    wanted = endpoint.strip("/")
    return _MODELS.get(wanted) or next(
        (model for model in _MODELS.values() if endpoint_name(model.ENDPOINT) == wanted), None
    )


def endpoint_name(endpoint: str) -> str:
    """What people call an endpoint: its id without the model's own part, such as `ingredient`."""
    return endpoint.strip("/").removeprefix(f"{APP}/")


class _Name:
    """Validates the short name of a known endpoint, and shows all of them in a form."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_known_name, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"enum": sorted(map(endpoint_name, _MODELS)), "type": "string"}


def _known_name(name: str) -> str:
    model = endpoint_model(name)
    if model is None:
        raise ValueError(f"must be one of {', '.join(sorted(map(endpoint_name, _MODELS)))}")
    return endpoint_name(model.ENDPOINT)


EndpointName: TypeAlias = Annotated[str, _Name()]
"""The short name of a known endpoint, such as `ingredient`."""


class _OfAnyEndpoint:
    """Validates against the models that are known when it is asked, and shows all of them in a form."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _validated, serialization=core_schema.plain_serializer_function_ser_schema(_dumped)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(model.__pydantic_core_schema__) for model in endpoint_models()]}


def _validated(value: Any) -> GenerationRequest:
    if isinstance(value, GenerationRequest):
        return value
    union: Any = endpoint_models()[0]
    for model in endpoint_models()[1:]:
        union = union | model
    found: GenerationRequest = TypeAdapter(union).validate_python(value)
    return found


def _dumped(value: GenerationRequest) -> dict[str, Any]:
    return value.model_dump(mode="json")


AnyRequest: TypeAlias = Annotated[GenerationRequest, _OfAnyEndpoint()]
"""A parameter that takes a request of any known endpoint."""


def parse_request(data: Mapping[str, object], endpoint: str | None = None) -> GenerationRequest:
    """The request in `data`; without `endpoint` it is told from the fields.

    A `video_url` means reference-video-to-video, else an `image_url` means ingredient. `endpoint` is a full
    id or its short name.

    Raises:
        FalRequestInvalid: with one readable entry a field in `.fields`.
    """
    model = endpoint_model(endpoint) if endpoint is not None else told_model(data)
    if model is None:
        raise FalRequestInvalid(
            f"Unknown endpoint {endpoint!r}: choose one of {', '.join(_MODELS)}"
            if endpoint is not None
            else "The request names no input: give video_url (reference-video-to-video) or image_url (ingredient)"
        )
    try:
        return model.model_validate(
            # An empty column of a table is no field at all.
            {name: value for name, value in data.items() if value is not None or name in model.model_fields}
        )
    except ValidationError as error:
        raise invalid_request(error, model, model.ENDPOINT) from None


def told_model(data: Mapping[str, object]) -> type[GenerationRequest] | None:
    """The model that fields alone tell; None where they name no input. Other endpoints have to be named."""
    if data.get("video_url") is not None:
        return ReferenceVideoRequest
    return IngredientRequest if data.get("image_url") is not None else None


register_endpoint(ReferenceVideoRequest)
register_endpoint(IngredientRequest)
