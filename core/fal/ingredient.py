"""`ingredient`: the request as fal's page has it."""

from typing import ClassVar, Final

from pydantic import Field

from prefect_ltx.fal import fields as f
from prefect_ltx.fal.fields import ImageSize
from prefect_ltx.fal.request import GenerationRequest

INGREDIENT: Final = "fal-ai/ltx-2.3-quality/ingredient"


class IngredientRequest(GenerationRequest):
    """Input of `fal-ai/ltx-2.3-quality/ingredient`: a reference sheet whose panels the result keeps."""

    ENDPOINT: ClassVar[str] = INGREDIENT
    CATEGORY: ClassVar[str] = "image-to-video"
    ABOUT: ClassVar[str] = (
        "Generate high-quality video with audio from reference, character sheet, storyboard using LTX-2.3"
    )
    STRENGTH_FIELD: ClassVar[str] = "ingredient_strength"
    SHEET_FIELD: ClassVar[str] = "image_url"
    AUTO_SIZE: ClassVar[tuple[int, int] | None] = (1536, 896)
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
