"""A recipe: which files are made of a delivered video, and how, as data that can be stored and sent.

Operations on the whole clip come first and hold for every output, in this order: lead-in and `trim`,
`frame_rate`, `scale`, `colour`, `loudness`. Then every entry of `outputs` is one file, or two where a file needs
a companion (a playlist, a list of cues). Every field is a number, a choice or a checked name: nothing in a
recipe reaches ffmpeg as text of the user's.
"""

from fractions import Fraction
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prefect_ltx.media.graph import frame_rate

_RESERVED: Final = frozenset(("video", "manifest", "index"))  # names that the archive gives itself

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]
Side = Annotated[int, Field(ge=16, le=8192, multiple_of=2)]
Quality = Annotated[int, Field(ge=0, le=40)]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trim(_Model):
    """Keep what lies between two times, in seconds from the first frame after a removed lead-in."""

    start: float = Field(0.0, ge=0, allow_inf_nan=False)
    end: float | None = Field(None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError("a trim has to end after its start")
        return self


class Scale(_Model):
    """Another picture size for every output; with one side given the other follows, with both the rest is cropped."""

    width: Side | None = None
    height: Side | None = None

    @model_validator(mode="after")
    def _a_side_is_given(self) -> Self:
        if self.width is None and self.height is None:
            raise ValueError("scaling needs a width or a height")
        return self


class LoudnessTarget(_Model):
    """EBU R128: -14 LUFS for web platforms, -16 for speech and podcasts, -23 for broadcast; true peak in dBTP."""

    lufs: Literal[-14, -16, -23] = -14
    true_peak: float = Field(-1.5, ge=-9, le=0)


class _Output(_Model):
    name: Name | None = Field(None, description="File name without suffix; by default told from the kind.")

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str | None) -> str | None:
        if name in _RESERVED:
            raise ValueError(f"{name!r} is a name of the archive's own")
        return name

    @property
    def stem(self) -> str:
        """The file's name without its suffix, and the rendition's name."""
        return self.name or self._default_name()

    def _default_name(self) -> str:
        return str(getattr(self, "kind"))  # noqa: B009 - declared by every subclass


class WebVideo(_Output):
    """MP4 with fast start: H.264 4:2:0 and AAC. A video that is fit for the web already is copied."""

    kind: Literal["web"] = "web"
    # As many bytes as medium at 20 in 0.41 of its CPU time, for 1.3 points of VMAF (95.1 of 100).
    crf: Quality = 19
    preset: Preset = "veryfast"
    copy_if_fit: bool = True
    copy_up_to_mbps: float = Field(
        25.0, gt=0, description="Above this bit rate a fit video is encoded anyway."
    )


class SocialVideo(_Output):
    """MP4 in a platform's aspect: cropped, or whole on a blurred copy of itself."""

    kind: Literal["social"] = "social"
    aspect: Literal["9:16", "4:5", "1:1"] = "9:16"
    fit: Literal["crop", "blur"] = "crop"
    width: Annotated[int, Field(ge=64, le=2160, multiple_of=2)] = 1080
    anchor: float = Field(
        0.5, ge=0, le=1, description="Which part a crop keeps: 0 left or top, 1 right or bottom."
    )
    crf: Quality = 21
    preset: Preset = "veryfast"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, both even."""
        across, down = map(int, self.aspect.split(":"))
        return self.width, 2 * round(self.width * down / across / 2)

    def _default_name(self) -> str:
        return f"social_{self.aspect.replace(':', 'x')}" + ("_blur" if self.fit == "blur" else "")


class ProxyVideo(_Output):
    """A small MP4 for editing and review; never larger than the source."""

    kind: Literal["proxy"] = "proxy"
    height: Annotated[int, Field(ge=64, le=2160, multiple_of=2)] = 720
    crf: Quality = 26
    preset: Preset = "veryfast"

    def _default_name(self) -> str:
        return f"proxy_{self.height}p"


class HlsVideo(_Output):
    """HLS with fragmented MP4: `<name>.m3u8`, and `<name>_media.mp4` in byte ranges."""

    kind: Literal["hls"] = "hls"
    segment_seconds: float = Field(2.0, ge=0.5, le=10)
    crf: Quality = 22
    preset: Preset = "veryfast"


class Preview(_Output):
    """An animated WebP that plays in a table or a chat."""

    kind: Literal["preview"] = "preview"
    width: Side = 480
    fps: Annotated[int, Field(ge=1, le=30)] = 8
    max_frames: Annotated[int, Field(ge=2, le=300)] = 40
    quality: Annotated[int, Field(ge=1, le=100)] = 40


class Poster(_Output):
    """The most representative frame of the whole clip, as JPEG in full size."""

    kind: Literal["poster"] = "poster"


class ContactSheet(_Output):
    """Frames at even distances, first and last among them, in a grid (JPEG)."""

    kind: Literal["contact_sheet"] = "contact_sheet"
    frames: Annotated[int, Field(ge=1, le=100)] = 12
    columns: Annotated[int, Field(ge=1, le=20)] = 4
    width: Annotated[int, Field(ge=16, le=1024, multiple_of=2)] = 320


class Thumbnails(_Output):
    """What a player shows over its time bar: `<name>.jpg`, a grid, and `<name>.vtt`, which part belongs to when."""

    kind: Literal["thumbnails"] = "thumbnails"
    every: float = Field(0.5, ge=0.1, le=600, description="Seconds between two pictures, where they fit in.")
    max_frames: Annotated[int, Field(ge=1, le=400)] = 100
    columns: Annotated[int, Field(ge=1, le=40)] = 10
    width: Annotated[int, Field(ge=16, le=1024, multiple_of=2)] = 160


class AudioFile(_Output):
    """The audio alone; left out where the video has none."""

    kind: Literal["audio"] = "audio"
    format: Literal["m4a", "wav"] = "m4a"
    kbps: Annotated[int, Field(ge=32, le=320, description="Of the m4a.")] = 192


Output = Annotated[
    WebVideo | SocialVideo | ProxyVideo | HlsVideo | Preview | Poster | ContactSheet | Thumbnails | AudioFile,
    Field(discriminator="kind"),
]


class Recipe(_Model):
    """Operations on a clip, then its outputs; frozen, and the same as JSON or YAML."""

    name: Name = "custom"
    remove_lead_in: bool = Field(
        True, description="Cut the reference sheet off where quality control found it."
    )
    trim: Trim | None = None
    frame_rate: str | None = Field(
        None, description="Frames per second, such as 25 or 30000/1001; None keeps it."
    )
    scale: Scale | None = None
    colour: Literal["bt709", "keep"] = Field("bt709", description="How pictures are tagged, in what is made.")
    loudness: LoudnessTarget | None = LoudnessTarget()
    outputs: tuple[Output, ...] = ()

    @field_validator("frame_rate")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            rate = frame_rate(value)
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError("a frame rate is a number or a fraction, such as 25 or 30000/1001") from error
        if not 1 <= rate <= 240:
            raise ValueError("a frame rate lies between 1 and 240")
        return str(rate)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [name for each in self.outputs for name in (each.stem, f"{each.stem}_media")]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"two outputs are called {double[0]!r}; give one of them another name")
        return self

    @property
    def rate(self) -> Fraction | None:
        """`frame_rate` as a number."""
        return None if self.frame_rate is None else frame_rate(self.frame_rate)
