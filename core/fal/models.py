"""What goes into and comes out of the two LTX-2.3 endpoints: fal's own field names, defaults and ranges.

A request is a value: it does not change, and the `with_…` methods give a new, checked one. `body()` is what
is POSTed. Documented fields are held to the pages; fields that fal has added since travel in
`extra_arguments`.
"""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from prefect_ltx.fal import fields as f
from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.fields import ImageSize, ResolutionPreset
from prefect_ltx.fal.frames import FrameRule, snap_num_frames
from prefect_ltx.fal.problems import invalid_request
from prefect_ltx.fal.results import FalFile, GeneratedVideo
from prefect_ltx.fal.safe_text import strip_url

__all__ = [
    "INGREDIENT",
    "PRESET_SIZES",
    "REFERENCE_VIDEO",
    "Endpoint",
    "FalFile",
    "FrameRule",
    "GeneratedVideo",
    "GenerationRequest",
    "ImageSize",
    "IngredientRequest",
    "ReferenceVideoRequest",
    "ResolutionPreset",
    "parse_request",
    "snap_num_frames",
]

Endpoint = Literal["fal-ai/ltx-2.3-quality/reference-video-to-video", "fal-ai/ltx-2.3-quality/ingredient"]
REFERENCE_VIDEO: Final[Endpoint] = "fal-ai/ltx-2.3-quality/reference-video-to-video"
INGREDIENT: Final[Endpoint] = "fal-ai/ltx-2.3-quality/ingredient"

PRESET_SIZES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "square_hd": (1024, 1024),
        "square": (512, 512),
        "portrait_4_3": (768, 1024),
        "portrait_16_9": (576, 1024),
        "landscape_4_3": (1024, 768),
        "landscape_16_9": (1024, 576),
    }
)
"""(width, height) of fal's presets (ltx-model §2); "auto" has no fixed size, see `sizes`."""


def _say_that_extras_are_extra(schema: dict[str, Any]) -> None:
    fields = schema["properties"]
    fields["extra_arguments"]["propertyNames"] = {"not": {"enum": list(fields)}}


class _Request(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,
        json_schema_extra=_say_that_extras_are_extra,
    )

    ENDPOINT: ClassVar[Endpoint]
    MEDIA_FIELDS: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:
        # For the type checker only: a form shows a base's fields first, and the pages order them differently.
        num_frames: f.NumFrames
        extra_arguments: f.ExtraArguments

    def media(self) -> dict[str, str]:
        """The media fields that are set, by name, in the page's order."""
        return {name: url for name in self.MEDIA_FIELDS if (url := getattr(self, name)) is not None}

    def with_media(self, urls: Mapping[str, str]) -> Self:
        """The same request with these media fields replaced.

        Raises:
            FalRequestInvalid: when a name is not one of `MEDIA_FIELDS`, or a URL is blank.
        """
        if unknown := sorted(set(urls) - set(self.MEDIA_FIELDS)):
            raise FalRequestInvalid(f"{', '.join(unknown)}: not a media field of {self.ENDPOINT}")
        return self._changed(dict(urls))

    def with_seed(self, seed: int) -> Self:
        """The same request with this seed."""
        return self._changed({"seed": seed})

    def with_frames(self, rule: FrameRule) -> Self:
        """The same request with its frame count snapped by `rule`."""
        return self._changed({"num_frames": snap_num_frames(self.num_frames, rule)})

    def body(self) -> dict[str, JsonValue]:
        """The wire body: every default filled in, None left out, `extra_arguments` beside the rest."""
        body: dict[str, JsonValue] = self.model_dump(
            mode="json", exclude={"extra_arguments"}, exclude_none=True
        )
        return body | self.extra_arguments

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """The fields, with media URLs cut before their query: these may be signed."""
        for name, value in super().__repr_args__():
            yield name, strip_url(str(value)) if name in self.MEDIA_FIELDS and value else value

    def _changed(self, update: Mapping[str, object]) -> Self:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return type(self).model_validate(given | dict(update))
        except ValidationError as error:
            raise invalid_request(error, type(self), self.ENDPOINT) from None

    @model_validator(mode="after")
    def _extras_are_extra(self) -> Self:
        taken = sorted(set(self.extra_arguments) & set(type(self).model_fields))
        if taken:
            raise ValueError(f"extra_arguments may not repeat a documented field: {', '.join(taken)}")
        try:
            json.dumps(self.extra_arguments, allow_nan=False)
        except ValueError:
            raise ValueError("extra_arguments must be plain JSON: no NaN, no infinity") from None
        return self


class ReferenceVideoRequest(_Request):
    """Input of `fal-ai/ltx-2.3-quality/reference-video-to-video`: a video whose motion the result follows."""

    ENDPOINT: ClassVar[Endpoint] = REFERENCE_VIDEO
    MEDIA_FIELDS: ClassVar[tuple[str, ...]] = ("video_url", "image_url")

    prompt: f.Prompt = Field(
        description="The prompt to guide generation.",
        examples=["A dancer in a flowing red dress against a black backdrop, studio lighting, cinematic."],
    )
    video_url: f.MediaUrl = Field(
        title="Reference video",
        description="The URL of the reference video that supplies motion/structure." + f.LOCAL_MEDIA_NOTE,
        examples=["https://v3b.fal.media/files/b/0a8824b1/sdm0KfmenrlywesfzY1Y1_if6euPp1.mp4"],
    )
    image_url: f.MediaUrl | None = Field(
        default=None,
        title="Reference image",
        description=(
            "Optional reference image used by the IC-LoRA Union node for style/character anchoring."
            + f.LOCAL_MEDIA_NOTE
        ),
    )
    video_strength: f.UnitStrength = Field(
        default=0.6,
        title="Video strength",
        description=(
            "Video conditioning strength. Lower values give the model more freedom to change the reference "
            "video motion/structure."
        ),
    )
    num_frames: f.NumFrames = 121
    resolution: f.Resolution = Field(
        default="auto",
        description=(
            "The size of the generated video. 'auto' keeps the official Union Control workflow's "
            "low-resolution control output size, while an explicit size requests a larger generated "
            "output."
        ),
    )
    frames_per_second: f.FramesPerSecond = 24
    num_inference_steps: f.InferenceSteps = Field(
        default=15,
        description=(
            "Number of inference steps. Defaults to 15 for this distilled ComfyUI workflow and can be "
            "increased up to 30."
        ),
    )
    guidance_scale: f.GuidanceScale = Field(
        default=1,
        description="Classifier-free guidance scale. The default follows the distilled LTX-2.3 workflow.",
    )
    generate_audio: f.GenerateAudio = True
    negative_prompt: f.NegativePrompt = f.REFERENCE_VIDEO_NEGATIVE_PROMPT
    seed: f.Seed = None
    enable_prompt_expansion: f.PromptExpansion = True
    enable_safety_checker: f.SafetyChecker = True
    video_quality: f.Quality = "high"
    video_write_mode: f.WriteMode = "balanced"
    sync_mode: f.SyncMode = False
    extra_arguments: f.ExtraArguments = Field(default_factory=dict)


class IngredientRequest(_Request):
    """Input of `fal-ai/ltx-2.3-quality/ingredient`: a reference sheet whose panels the result keeps."""

    ENDPOINT: ClassVar[Endpoint] = INGREDIENT
    MEDIA_FIELDS: ClassVar[tuple[str, ...]] = ("image_url",)

    prompt: f.Prompt = Field(
        description=(
            "The prompt to guide the generated video. For best results, use a 'Reference sheet: ... "
            "Generated video: ...' structure."
        ),
        examples=[
            "Reference sheet: a chef in a white jacket, a copper pan, fresh basil, and a bright studio "
            "kitchen. Generated video: the chef tosses pasta in the copper pan, steam rising, cinematic "
            "food commercial."
        ],
    )
    image_url: f.MediaUrl = Field(
        title="Reference sheet",
        description=(
            "URL of the Ingredient reference sheet image. The sheet should contain clean panels for the "
            "characters, props, and location to preserve." + f.LOCAL_MEDIA_NOTE
        ),
        examples=["https://storage.googleapis.com/falserverless/example_inputs/ltxv-2-i2v-input.jpg"],
    )
    num_frames: f.NumFrames = 121
    resolution: f.Resolution = Field(
        default=ImageSize(height=896, width=1536),
        description=(
            "The final generated video size. The default keeps the workflow's first stage at the Ingredient "
            "LoRA's trained 768x448 bucket before the official 2x refinement stage."
        ),
    )
    frames_per_second: f.FramesPerSecond = 24
    guidance_scale: f.GuidanceScale = Field(default=1, description="Classifier-free guidance scale.")
    ingredient_strength: f.DoubleStrength = Field(
        default=1,
        title="Ingredient strength",
        description=(
            "Strength of the built-in Ingredient IC-LoRA. Higher values make the reference sheet "
            "identities and props more dominant."
        ),
    )
    reference_strength: f.DoubleStrength = Field(
        default=1,
        title="Reference strength",
        description=(
            "Strength of the reference-sheet guide. 1.0 uses the sheet fully; lower values give the model "
            "more freedom."
        ),
    )
    generate_audio: f.GenerateAudio = True
    negative_prompt: f.NegativePrompt = f.INGREDIENT_NEGATIVE_PROMPT
    seed: f.Seed = None
    enable_prompt_expansion: f.PromptExpansion = True
    enable_safety_checker: f.SafetyChecker = True
    video_quality: f.Quality = "high"
    video_write_mode: f.WriteMode = "balanced"
    sync_mode: f.SyncMode = False
    extra_arguments: f.ExtraArguments = Field(default_factory=dict)


GenerationRequest: TypeAlias = ReferenceVideoRequest | IngredientRequest


def parse_request(data: Mapping[str, object], endpoint: str | None = None) -> GenerationRequest:
    """The request in `data`; without `endpoint` it is told from the fields.

    A `video_url` means reference-video-to-video, else an `image_url` means ingredient. `endpoint` is a full
    id or its last part.

    Raises:
        FalRequestInvalid: with one readable entry a field in `.fields`.
    """
    model = _model_named(endpoint) if endpoint is not None else _model_meant(data)
    try:
        return model.model_validate(
            # An empty column of a table is no field at all.
            {name: value for name, value in data.items() if value is not None or name in model.model_fields}
        )
    except ValidationError as error:
        raise invalid_request(error, model, model.ENDPOINT) from None


_MODELS: Final[tuple[type[GenerationRequest], ...]] = (ReferenceVideoRequest, IngredientRequest)


def _model_named(endpoint: str) -> type[GenerationRequest]:
    for model in _MODELS:
        if endpoint in (model.ENDPOINT, model.ENDPOINT.rpartition("/")[2]):
            return model
    known = ", ".join(model.ENDPOINT for model in _MODELS)
    raise FalRequestInvalid(f"Unknown endpoint {endpoint!r}: choose one of {known}")


def _model_meant(data: Mapping[str, object]) -> type[GenerationRequest]:
    if data.get("video_url") is not None:
        return ReferenceVideoRequest
    if data.get("image_url") is not None:
        return IngredientRequest
    raise FalRequestInvalid(
        "The request names no input: give video_url (reference-video-to-video) or image_url (ingredient)"
    )
