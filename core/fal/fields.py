"""The fields that both endpoints share, each with the range and the words of fal's own page.

They are types rather than a base class, because a form shows fields in the order of the class, and the two
pages order them differently.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from prefect_ltx.fal.frames import MAX_FRAMES, MIN_FRAMES
from prefect_ltx.fal.safe_text import storable
from prefect_ltx.fal.sendable import MOST_WHOLE, is_blank, trimmed, unsendable, why_not_text

REFERENCE_VIDEO_NEGATIVE_PROMPT: Final = (
    "color distortion, overexposure, static, blurry details, subtitles, style, artwork, painting, frame, "
    "still, dim overall tone, worst quality, low quality, JPEG compression artifacts, ugly, mutilated, "
    "extra fingers, poorly drawn hands, poorly drawn face, deformed, disfigured, malformed limbs, "
    "fused fingers, motionless frame, cluttered background, three legs, crowded background, walking backwards"
)
INGREDIENT_NEGATIVE_PROMPT: Final = "worst quality, inconsistent motion, blurry, jittery, distorted"

LOCAL_MEDIA_NOTE: Final = (
    " A path on the disk of the machine that runs this (with Prefect, the worker's), an s3:// URL or a data URI is "
    "uploaded first."
)

MediaKind = Literal["video", "image"]
_KINDS: Final[dict[str, MediaKind]] = {
    "video_url": "video",
    "image_url": "image",
    "control_video_url": "video",
    "mid_image_url": "image",
    "end_image_url": "image",
}
MEDIA_KINDS: Final[Mapping[str, MediaKind]] = MappingProxyType(_KINDS)
"""What each documented media field of the known endpoints holds."""

ResolutionPreset = Literal[
    "auto", "square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"
]
VideoQuality = Literal["low", "medium", "high", "maximum"]
VideoWriteMode = Literal["fast", "balanced", "small"]


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


class ImageSize(BaseModel):
    """An explicit size in pixels. Sizes that are multiples of 64 are delivered as asked most reliably."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The order is that of fal's page.
    height: "PixelCount" = Field(default=512, title="Height", description="The height in pixels.")
    width: "PixelCount" = Field(default=512, title="Width", description="The width in pixels.")


def know_media_kinds(kinds: Mapping[str, MediaKind]) -> None:
    """Add the media fields of another endpoint.

    Raises:
        ValueError: a field holds something else elsewhere.
    """
    for field, kind in kinds.items():
        if _KINDS.setdefault(field, kind) != kind:
            raise ValueError(f"{field} holds a {_KINDS[field]} in another endpoint, not a {kind}")


def media_kind(field: str) -> MediaKind | Literal["any"]:
    """The kind of media that `field` takes; "any" for one that fal has added since."""
    return MEDIA_KINDS.get(field, "any")


def _sendable(text: str) -> str:
    if why := why_not_text(text):
        raise ValueError(why)
    return text


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("must not be blank")
    return _sendable(text)


def _no_bool(value: object) -> object:
    # Python calls True a number; fal's pages do not.
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _whole(value: object) -> object:
    """A whole number as people and spreadsheets write it: `121`, `121.0`; nothing that may mean another number."""
    if isinstance(value, float) and value.is_integer() and abs(value) >= _INEXACT:
        raise ValueError("a number of this size is not exact with a decimal point: write its digits alone")
    if not isinstance(value, str):
        return _no_bool(value)
    text = trimmed(value)
    if _EXPONENT.fullmatch(text):
        raise ValueError(
            f"{text} is a number that a spreadsheet has shortened: format its column as text and write all digits"
        )
    if _GROUPED.fullmatch(text):
        raise ValueError(f"{text[:40]} may be read in two ways: write the digits alone, without separators")
    return text


def _fraction(value: object) -> object:
    """A number with a decimal point."""
    if not isinstance(value, str):
        return _no_bool(value)
    text = trimmed(value)
    if _COMMA.fullmatch(text):
        raise ValueError(f"{text[:40]} has a decimal comma: write {text[:40].replace(',', '.')}")
    return text


def _plain_json(value: object) -> object:
    # Before pydantic looks into it: its complaint about deep nesting has a part for each level.
    for path, why in unsendable(value):
        place = storable(".".join(map(str, path[:8])))
        raise ValueError(f"{place}: {why}" if place else why)
    return value


# What `_not_blank` asks for, as a form and a Prefect server read it.
_INK: Final = r"\S"

_INEXACT: Final = 2**53
_EXPONENT: Final = re.compile(r"[-+]?\d{1,40}([.,]\d{0,40})?[eE][-+]?\d{1,9}", re.ASCII)
_GROUPED: Final = re.compile(r"[-+]?\d{1,3}(?:[.,'’  ]\d{3})+(?:[.,]\d{0,9})?", re.ASCII)
_COMMA: Final = re.compile(r"[-+]?\d{1,40},\d{1,40}", re.ASCII)

# Written after the Field in each type: outermost, so that the schema keeps minimum and maximum.
_Number = BeforeValidator(_fraction)
_WholeNumber = BeforeValidator(_whole)

Prompt: TypeAlias = Annotated[
    str,
    AfterValidator(_not_blank),
    Field(title="Prompt", min_length=1, json_schema_extra={"format": "textarea", "pattern": _INK}),
]
MediaUrl: TypeAlias = Annotated[
    str, AfterValidator(_not_blank), Field(min_length=1, json_schema_extra={"pattern": _INK})
]
PixelCount: TypeAlias = Annotated[int, Field(gt=0, le=14142), _WholeNumber]
Resolution: TypeAlias = Annotated[ImageSize | ResolutionPreset, Field(title="Resolution")]
UnitStrength: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), _Number]
DoubleStrength: TypeAlias = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False), _Number]
GuidanceScale: TypeAlias = Annotated[
    float, Field(title="Guidance scale", ge=1, le=20, allow_inf_nan=False), _Number
]
InferenceSteps: TypeAlias = Annotated[int, Field(title="Inference steps", ge=8, le=30), _WholeNumber]

NumFrames: TypeAlias = Annotated[
    int,
    Field(
        title="Number of frames",
        ge=MIN_FRAMES,
        le=MAX_FRAMES,
        description=(
            "The number of frames to generate. The model works on 8k+1 frames (9, 17, … 121, … 481); another "
            "count may come back changed, so a frame rule can snap it: nearest, floor or as_is."
        ),
        examples=[121, 9, 241, 481],
    ),
    _WholeNumber,
]
FramesPerSecond: TypeAlias = Annotated[
    float,
    Field(
        title="Frames per second",
        ge=1,
        le=60,
        allow_inf_nan=False,
        description="Frames per second of the generated video.",
    ),
    _Number,
]
GenerateAudio: TypeAlias = Annotated[
    bool,
    Field(
        title="Generate audio",
        description=(
            "Whether to include audio in the returned video. When disabled, the final MP4 is returned "
            "without an audio track."
        ),
    ),
]
NegativePrompt: TypeAlias = Annotated[
    str,
    AfterValidator(_sendable),
    Field(
        title="Negative prompt",
        description="The negative prompt to steer generation away from.",
        json_schema_extra={"format": "textarea"},
    ),
]
Seed: TypeAlias = Annotated[
    Annotated[int, Field(ge=0, le=MOST_WHOLE), _WholeNumber] | None,
    Field(
        title="Seed",
        description="Random seed for reproducibility. If None, a random seed is chosen.",
        examples=[42],
    ),
]
PromptExpansion: TypeAlias = Annotated[
    bool, Field(title="Expand the prompt", description="Whether to enable prompt expansion.")
]
SafetyChecker: TypeAlias = Annotated[
    bool, Field(title="Safety checker", description="Whether to enable the safety checker.")
]
Quality: TypeAlias = Annotated[
    VideoQuality,
    Field(title="Video quality", description="The quality preset of the generated video."),
]
WriteMode: TypeAlias = Annotated[
    VideoWriteMode, Field(title="Video write mode", description="The write mode of the generated video.")
]
SyncMode: TypeAlias = Annotated[
    bool,
    Field(
        title="Sync mode",
        description=(
            "If True, the media is returned as a data URI inline in the response. Useful for short-lived "
            "requests and tests."
        ),
    ),
]
ExtraArguments: TypeAlias = Annotated[
    dict[str, JsonValue],
    BeforeValidator(_plain_json),
    Field(
        title="Extra arguments",
        description=(
            "Inputs that fal has added since and this version does not know by name. They are sent as they "
            "are, beside the documented ones; a name that ends in _url is a media input, uploaded first."
        ),
    ),
]
