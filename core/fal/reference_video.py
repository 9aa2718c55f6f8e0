"""`reference-video-to-video`: the request as fal's page has it, and six inputs that another page documents.

`control_video_url`, `skip_control_preprocess`, `preserve_original_video`, `strength`, `mid_image_url` and
`end_image_url` stand on the page of the sibling `…/reference-video-to-video/lora` (fal-2026-11-26 §1); all other
fields, defaults and ranges on the endpoint's own.
"""

from typing import ClassVar, Final

from pydantic import Field, ValidationInfo, field_validator

from prefect_ltx.fal import fields as f
from prefect_ltx.fal.request import GenerationRequest

REFERENCE_VIDEO: Final = "fal-ai/ltx-2.3-quality/reference-video-to-video"


class ReferenceVideoRequest(GenerationRequest):
    """Input of `fal-ai/ltx-2.3-quality/reference-video-to-video`: a video whose motion the result follows."""

    ENDPOINT: ClassVar[str] = REFERENCE_VIDEO
    CATEGORY: ClassVar[str] = "video-to-video"
    ABOUT: ClassVar[str] = (
        "Generate high-quality video with audio from reference video, text and images using LTX-2.3"
    )
    STRENGTH_FIELD: ClassVar[str] = "video_strength"
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
