"""What is known of a media file once its header and its packets were read (`probe`)."""

from fractions import Fraction

from pydantic import BaseModel, ConfigDict

from prefect_ltx.media.magic import MediaKind


class AudioInfo(BaseModel):
    """The audio stream that a player would play.

    `layout` is ffmpeg's name (`stereo`). It is heard from `start`, in seconds on the file's own clock, for `duration`
    seconds, gaps included; `sounding` leaves them out. `stream` is its number in the file.
    """

    model_config = ConfigDict(frozen=True)

    codec: str
    sample_rate: int
    channels: int
    layout: str
    duration: float
    start: float = 0.0
    sounding: float = 0.0
    stream: int = 1


class MediaInfo(BaseModel):
    """A video or an image as its header describes it; only decoding proves it (`verify_video`).

    `frames` are those that are shown, of the stream (number `stream`) that a player would show; with `hides_frames`
    there are others, which an edit list hides. `fps` is an exact fraction as text (`24`, `24000/1001`; `0` for a
    still); it is the mean where `constant` is false, which says that frames come unevenly. The first frame is shown at
    `start`, on the file's own clock, and the last one ends `duration` seconds later, of which it is shown for
    `last_seconds`. A still has one frame.

    `width` and `height` are as shown: what its header turns by a quarter has them swapped, and with `upright` false
    its pictures are turned or mirrored when they are decoded. `pixel_aspect` is the width of a pixel over its height.
    `colour` holds range, primaries, transfer and matrix as numbers of ISO 23091-2 (range: 1 limited, 2 full; 2 is
    "unspecified" for the others). `size` is in bytes.
    """

    model_config = ConfigDict(frozen=True)

    kind: MediaKind
    container: str
    content_type: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    frames: int
    fps: str
    duration: float
    audio: AudioInfo | None
    size: int
    bit_rate: int = 0
    upright: bool = True
    pixel_aspect: str = "1"
    colour: tuple[int, int, int, int] = (0, 2, 2, 2)
    stream: int = 0
    start: float = 0.0
    constant: bool = True
    last_seconds: float = 0.0
    interlaced: bool = False
    hides_frames: bool = False

    @property
    def frame_rate(self) -> Fraction:
        """`fps` as a number."""
        return Fraction(self.fps)

    @property
    def square_pixels(self) -> bool:
        """Whether a pixel is as wide as it is high."""
        return self.pixel_aspect == "1"

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height in square pixels; the same as `width` and `height` where the pixels are square."""
        return max(1, round(self.width * Fraction(self.pixel_aspect))), self.height
