"""The models as the Platform API lists them, with the schema of their input."""

from typing import Any, Final

from prefect_ltx.fal import GeneratedVideo, GenerationRequest, endpoint_models

UNIT: Final = "megapixels"


def models(*, with_openapi: bool) -> list[dict[str, Any]]:
    """Every endpoint. The description says that it is the stand-in that answers here."""
    listed = []
    for model in endpoint_models():
        endpoint = model.ENDPOINT
        entry: dict[str, Any] = {
            "endpoint_id": endpoint,
            "metadata": {
                "display_name": "Ltx 2.3 Quality",
                "category": model.CATEGORY,
                "description": f"{model.ABOUT} (answered by prefect-ltx's embedded stand-in, not by the model)",
                "status": "active",
                "tags": ["stand-in"],
                "updated_at": "2026-11-20T00:00:00Z",
                "is_favorited": None,
                "thumbnail_url": "",
                "model_url": f"https://fal.run/{endpoint}",
                "date": "2026-11-20T00:00:00Z",
                "highlighted": False,
                "kind": "inference",
                "pinned": False,
            },
        }
        if with_openapi:
            entry["openapi"] = _openapi(model)
        listed.append(entry)
    return listed


def _openapi(model: type[GenerationRequest]) -> dict[str, Any]:
    endpoint, schema = model.ENDPOINT, model.model_json_schema()
    schema["properties"].pop("extra_arguments", None)
    body = {"content": {"application/json": {"schema": schema}}}
    answer = {"content": {"application/json": {"schema": GeneratedVideo.model_json_schema()}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": endpoint, "version": "1.0.0"},
        "paths": {
            f"/{endpoint}": {
                "post": {"requestBody": body, "responses": {"200": {"description": "", **answer}}}
            }
        },
    }
