"""What a film has besides its shots: music below it, a voice over them, words on the picture.

Times are in frames of the film, so that they are exact; levels and the ducking are in decibels.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from prefect_ltx.fal.sendable import is_blank


def not_blank(text: str) -> str:
    """The text with single spaces, as a field's validator.

    Raises:
        ValueError: it is blank.
    """
    if is_blank(text):
        raise ValueError("must not be blank")
    return " ".join(text.split())


Words = Annotated[str, AfterValidator(not_blank), Field(min_length=1)]
Source = Annotated[
    str,
    AfterValidator(not_blank),
    Field(min_length=1, description="A path relative to the storyboard, s3://, https:// or a data URI."),
]
Decibels = Annotated[float, Field(ge=-60, le=12, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)]


class Part(BaseModel):
    """A part of a storyboard."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Music(Part):
    """Music below the whole film. It ducks under the shots' own sound and under voices."""

    file: Source
    level: Decibels = Field(default=-12, description="dB that the file is played at, 0 as it is.")
    fade_in: Seconds = Field(default=0.5, description="Seconds.")
    fade_out: Seconds = Field(default=2, description="Seconds, before its end or the film's.")
    duck: float = Field(
        default=12,
        ge=0,
        le=40,
        allow_inf_nan=False,
        description="dB that it is lowered by while something else is heard; 0 leaves it.",
    )
    loop: bool = Field(
        default=False, description="Whether it begins again where it is shorter than the film."
    )


class Voice(Part):
    """A voice-over of a shot. It may go on into the next ones."""

    file: Source
    level: Decibels = Field(default=0, description="dB that the file is played at, 0 as it is.")
    at: int = Field(default=0, ge=0, description="Frame of the shot at which it begins.")


class Subtitle(Part):
    """Words on the picture, for some frames of a shot."""

    text: Words
    at: int = Field(default=0, ge=0, description="Frame of the shot at which they appear.")
    until: int | None = Field(
        default=None, ge=1, description="Frame of the shot at which they are gone; left out: its end."
    )


class SubtitleStyle(Part):
    """How the film's subtitles are given: always as WebVTT beside it, and in its HLS; on the picture where asked."""

    burn_in: bool = Field(default=False, description="Whether they are on the film's own picture, too.")
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", description="BCP 47.")
    font: Source | None = Field(default=None, description="A TrueType or OpenType file for other scripts.")
