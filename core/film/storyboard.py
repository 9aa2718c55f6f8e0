"""A storyboard: who and what is in the film, where, and what happens shot by shot. The YAML file's own fields.

`docs/storyboard.schema.json` is the same as JSON schema, for editors.
"""

import re
from fractions import Fraction
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from prefect_ltx.fal import PRESET_SIZES, EndpointName, GenerationRequest, ImageSize, endpoint_model
from prefect_ltx.film.additions import Music, Part, Source, Subtitle, SubtitleStyle, Voice, Words
from prefect_ltx.film.takes import TakePolicy, derived_seed
from prefect_ltx.media import frame_rate
from prefect_ltx.sheets import Element, Line, ShotDescription

MOST_SHOTS: Final = 200
MOST_CROSS_FADE: Final = 48
CROSS_FADE: Final = 12

Preset = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]


class CastMember(Part):
    """A character or a prop: its name in the texts, its look, and pictures of it."""

    name: Words | None = Field(default=None, description="How the shots call it; without one, its key.")
    look: Words = Field(description="Concrete looks: age, hair, clothes, material, colour.")
    kind: Literal["character", "prop"] = "character"
    images: list[Source] = Field(
        min_length=1, max_length=4, description="A face close-up and a full body for a character."
    )


class Location(Part):
    """A place: its name in the texts, its look, and one picture of it."""

    name: Words | None = None
    look: Words
    image: Source


class CrossFade(Part):
    """A cross-fade of picture and sound: so many frames are shared by both shots."""

    cross_fade: int = Field(
        default=CROSS_FADE, ge=1, le=MOST_CROSS_FADE, description="Frames; 6 to 12 are usual."
    )


Transition = Literal["cut", "cross-fade"] | CrossFade


class Shot(Part):
    """One shot. What is left out is taken from the storyboard's defaults."""

    id: Name = Field(
        description="Its name, unique in the film; its seed follows from it where none is given."
    )
    title: str = Field(default="", description="The chapter's title; without one, the id.")
    text: Words = Field(description="What happens, in the present tense: one or two beats.")
    camera: str = Field(default="", description="One camera move.")
    light: str = ""
    dialogue: list[Line] = Field(default_factory=list)
    sound: str = Field(default="", description="Ambience and noises.")
    cast: list[str] | None = Field(
        default=None, description="Keys of the cast on this shot's sheet; left out: whoever its text names."
    )
    location: str | None = Field(default=None, description="Key of the location.")
    frames: int | None = Field(
        default=None, ge=9, le=481, description="Frames of the shot: 8k+1 fits the model."
    )
    endpoint: EndpointName | None = None
    video: Source | None = Field(default=None, description="The reference video of reference-video-to-video.")
    image: Source | None = Field(default=None, description="The reference image of reference-video-to-video.")
    start_from: Name | None = Field(
        default=None, description="Id of the shot whose last frame is the first of this one."
    )
    mid_image: Source | None = Field(default=None, description="A picture that the shot passes through.")
    end_image: Source | None = Field(default=None, description="A picture that the shot ends on.")
    voice: Voice | Source | None = Field(
        default=None, description="A voice-over: a file, or one with its level."
    )
    subtitles: list[Subtitle] = Field(default_factory=list, max_length=100)
    seed: int | None = Field(default=None, ge=0)
    transition: Transition | None = Field(default=None, description="How this shot follows the one before.")
    takes: TakePolicy | None = None
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further fields of the endpoint, such as ingredient_strength."
    )

    @property
    def voice_over(self) -> Voice | None:
        """The voice-over with its level."""
        return Voice(file=self.voice) if isinstance(self.voice, str) else self.voice

    def described(self) -> ShotDescription:
        """The shot's texts."""
        return ShotDescription(
            text=self.text,
            camera=self.camera,
            light=self.light,
            dialogue=tuple(self.dialogue),
            sound=self.sound,
        )


class Defaults(Part):
    """What every shot has that does not say otherwise."""

    frames: int = Field(default=121, ge=9, le=481)
    endpoint: EndpointName = "ingredient"
    transition: Transition = "cut"
    takes: TakePolicy = TakePolicy()
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class Storyboard(Part):
    """A film as text: cast, locations and shots."""

    title: Words
    style: str = Field(default="", description="Opens the description of every shot: medium, look, lens.")
    resolution: ImageSize | Preset = Field(
        default=ImageSize(width=1536, height=896),
        description="The film's size; multiples of 64 are delivered.",
    )
    frames_per_second: float = Field(default=24, ge=1, le=60, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0, description="Where the seeds of shots without one come from.")
    sheet: Literal["per_shot", "shared"] = Field(
        default="per_shot",
        description="per_shot: a sheet of what the shot shows; shared: all of the cast and the shot's location.",
    )
    audio: bool = Field(default=True, description="Whether the shots are made with sound.")
    loudness: float | None = Field(
        default=-14,
        ge=-40,
        le=-5,
        description="LUFS over the whole film; left out: the recipe's; null leaves it.",
    )
    music: Music | None = None
    subtitles: SubtitleStyle = SubtitleStyle()
    defaults: Defaults = Defaults()
    cast: dict[Name, CastMember] = Field(default_factory=dict)
    locations: dict[Name, Location] = Field(default_factory=dict)
    shots: list[Shot] = Field(min_length=1, max_length=MOST_SHOTS)

    @property
    def fps(self) -> Fraction:
        """Frames per second, exactly: 23.976 is 24000/1001."""
        return frame_rate(self.frames_per_second)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        if isinstance(self.resolution, ImageSize):
            return self.resolution.width, self.resolution.height
        return PRESET_SIZES[self.resolution]

    def frames_of(self, shot: Shot) -> int:
        """Frames to ask for."""
        return shot.frames if shot.frames is not None else self.defaults.frames

    def endpoint_of(self, shot: Shot) -> EndpointName:
        """Which endpoint makes the shot; a shot with a reference video needs no word for it."""
        if shot.endpoint is None and shot.video is not None:
            return "reference-video-to-video"
        return shot.endpoint or self.defaults.endpoint

    def model_of(self, shot: Shot) -> type[GenerationRequest]:
        """The request model of the shot's endpoint."""
        model = endpoint_model(self.endpoint_of(shot))
        assert model is not None  # the field takes known names only
        return model

    def seed_of(self, shot: Shot) -> int:
        """The shot's seed: its own, or one that depends on the storyboard's seed and the shot's id alone.

        Texts and neighbours are not in it, so that a changed shot keeps its seed and no other shot changes.
        """
        return shot.seed if shot.seed is not None else derived_seed(f"{self.seed}/shot/{shot.id}")

    def overlap_of(self, index: int) -> int:
        """Frames that a shot shares with the one before; 0 is a cut."""
        shot = self.shots[index]
        chosen = shot.transition
        if chosen is None:
            # A default for all shots cannot be meant for the first one.
            chosen = "cut" if index == 0 else self.defaults.transition
        if isinstance(chosen, CrossFade):
            return chosen.cross_fade
        return CROSS_FADE if chosen == "cross-fade" else 0

    def start_order(self) -> list[list[Shot]]:
        """The shots in waves: each shot in the first wave after that of the shot it starts from.

        Shots in a circle, and those that start from an unknown one, are in none.
        """
        waves: list[list[Shot]] = []
        known: set[str] = set()
        waiting = list(self.shots)
        while ready := [shot for shot in waiting if shot.start_from is None or shot.start_from in known]:
            waves.append(ready)
            known |= {shot.id for shot in ready}
            waiting = [shot for shot in waiting if shot.id not in known]
        return waves

    def takes_of(self, shot: Shot) -> TakePolicy:
        """How many takes the shot gets."""
        return shot.takes or self.defaults.takes

    def cast_of(self, shot: Shot) -> list[str]:
        """Keys of the cast that a shot shows, in the storyboard's order."""
        if shot.cast is not None:
            return [key for key in self.cast if key in shot.cast]
        words = " ".join([shot.text, *(f"{line.speaker} {line.text}" for line in shot.dialogue)]).casefold()
        return [key for key in self.cast if _mentioned(self.element(key).name, words)]

    def element(self, key: str) -> Element:
        """A cast member as the prompt names it."""
        member = self.cast[key]
        return Element(name=member.name or _spoken(key), look=member.look, kind=member.kind)

    def place(self, key: str) -> Element:
        """A location as the prompt names it."""
        location = self.locations[key]
        return Element(name=location.name or _spoken(key), look=location.look, kind="location")


def storyboard_schema() -> dict[str, Any]:
    """The JSON schema of a storyboard, for editors."""
    schema = Storyboard.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _spoken(key: str) -> str:
    return " ".join(key.replace("_", " ").replace("-", " ").split())


def _mentioned(name: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", words) is not None
