"""What goes into and comes out of the two LTX-2.3 endpoints: fal's own field names, defaults and ranges.

A request is a value: it does not change, and the `with_…` methods give a new, checked one. `body()` is what
is POSTed. Documented fields are held to the pages; the six that only the page of the sibling
`…/reference-video-to-video/lora` documents are `ADDED_FIELDS` (fal-2026-11-26 §1); fields that fal has added since
travel in `extra_arguments`.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, TypeAlias

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from prefect_ltx.fal import fields as f
from prefect_ltx.fal._base_request import BaseRequest
from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.fields import PRESET_SIZES, ImageSize, ResolutionPreset
from prefect_ltx.fal.frames import FrameRule, snap_num_frames
from prefect_ltx.fal.problems import invalid_request
from prefect_ltx.fal.results import FalFile, GeneratedVideo

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


class ReferenceVideoRequest(BaseRequest):
    """Input of `fal-ai/ltx-2.3-quality/reference-video-to-video`: a video whose motion the result follows."""

    ENDPOINT: ClassVar[Endpoint] = REFERENCE_VIDEO
    MEDIA_FIELDS: ClassVar[tuple[str, ...]] = (
        "video_url",
        "image_url",
        "control_video_url",
        "mid_image_url",
        "end_image_url",
    )
    ADDED_FIELDS: ClassVar[tuple[str, ...]] = (
        "control_video_url",
        "skip_control_preprocess",
        "preserve_original_video",
        "strength",
        "mid_image_url",
        "end_image_url",
    )

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
    control_video_url: f.MediaUrl | None = Field(
        default=None,
        title="Control video",
        description=(
            "Optional control video made beforehand (depth, edges or pose). With skip_control_preprocess it is "
            "the control signal itself, resampled to the output's size and frame count." + f.LOCAL_MEDIA_NOTE
        ),
    )
    skip_control_preprocess: bool = Field(
        default=False,
        title="Skip the built-in control estimation",
        description=(
            "Whether to use control_video_url as the control signal itself. Needs control_video_url. "
            "The resolution 'auto' then follows the reference video's size."
        ),
    )
    preserve_original_video: bool = Field(
        default=False,
        title="Preserve the original video",
        description=(
            "Whether the generation starts from video_url itself; strength says how much of it is changed. "
            "Needs skip_control_preprocess and control_video_url."
        ),
    )
    strength: f.UnitStrength = Field(
        default=1,
        title="Strength",
        description=(
            "Denoising strength of the sampler. With preserve_original_video lower values keep more of the "
            "original; without it they only shorten the schedule."
        ),
    )
    mid_image_url: f.MediaUrl | None = Field(
        default=None,
        title="Middle keyframe",
        description="Optional keyframe in the middle. Needs image_url." + f.LOCAL_MEDIA_NOTE,
    )
    end_image_url: f.MediaUrl | None = Field(
        default=None,
        title="Last keyframe",
        description="Optional keyframe at the end. Needs image_url." + f.LOCAL_MEDIA_NOTE,
    )
    extra_arguments: f.ExtraArguments = Field(default_factory=dict)

    @property
    def has_direct_control(self) -> bool:
        """Whether `control_video_url` is the control signal itself: then fal honours sizes (fal-2026-11-26 §1)."""
        return self.skip_control_preprocess and self.control_video_url is not None

    @field_validator("mid_image_url", "end_image_url")
    @classmethod
    def _keyframes_need_a_first(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "image_url" in info.data and info.data["image_url"] is None:
            raise ValueError("needs image_url, the first keyframe")
        return value

    @field_validator("skip_control_preprocess")
    @classmethod
    def _direct_control_needs_its_video(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "control_video_url" in info.data and info.data["control_video_url"] is None:
            raise ValueError("needs control_video_url, the control signal; fal would ignore it")
        return value

    @field_validator("preserve_original_video")
    @classmethod
    def _preserving_needs_direct_control(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("skip_control_preprocess") is False:
            raise ValueError("needs skip_control_preprocess with control_video_url, beside video_url")
        return value


class IngredientRequest(BaseRequest):
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
