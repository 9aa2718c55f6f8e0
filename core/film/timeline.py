"""When each shot begins and ends in the film: exact fractions, no rounding that adds up.

Pictures are counted in frames and sound in samples; a sample's place is always computed from the frame's, so a
film of any length ends with both at the same time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple, Self

from prefect_ltx.film.errors import FilmInvalid

SAMPLE_RATE: Final = 48000


class Span(NamedTuple):
    """One shot in the film: `overlap` frames at its start are shared with the end of the shot before."""

    shot: str
    start: int
    frames: int
    overlap: int

    @property
    def end(self) -> int:
        """The frame after its last."""
        return self.start + self.frames


@dataclass(frozen=True)
class Timeline:
    """The spans of a film, in order."""

    fps: Fraction
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, fps: Fraction, shots: Sequence[tuple[str, int, int]]) -> Self:
        """Lay shots, as (name, frames, overlap with the one before), one after the other.

        Raises:
            FilmInvalid: no shots, an overlap at the very start, or overlaps that meet inside a shot.
        """
        if fps <= 0 or not shots:
            raise FilmInvalid("a film needs a frame rate above zero and at least one shot")
        spans: list[Span] = []
        for index, (name, frames, overlap) in enumerate(shots):
            if frames < 2 or overlap < 0:
                raise FilmInvalid(f"shot {name}: {frames} frames, {overlap} of them shared, is no shot")
            after = shots[index + 1][2] if index + 1 < len(shots) else 0
            if index == 0 and overlap:
                raise FilmInvalid(f"shot {name} is the first: there is nothing to cross-fade from")
            if overlap + after >= frames:
                raise FilmInvalid(
                    f"shot {name} has {frames} frames, and its cross-fades take {overlap} and {after} of them: "
                    "at least one frame has to stand alone"
                )
            start = spans[-1].end - overlap if spans else 0
            spans.append(Span(name, start, frames, overlap))
        return cls(fps, tuple(spans))

    @property
    def frames(self) -> int:
        """How many frames the film has."""
        return self.spans[-1].end

    @property
    def duration(self) -> Fraction:
        """Seconds, exactly."""
        return self.frames / self.fps

    @property
    def samples(self) -> int:
        """How many samples of sound the film has."""
        return self.sample(self.frames)

    def sample(self, frame: int) -> int:
        """The sample at which a frame begins, to the nearest."""
        return (frame * SAMPLE_RATE * 2 * self.fps.denominator + self.fps.numerator) // (
            2 * self.fps.numerator
        )

    def chapters(self) -> list[tuple[str, int, int]]:
        """(shot, first frame, frame after the last) without overlaps: a chapter begins where its shot does."""
        ends = [span.start for span in self.spans[1:]] + [self.frames]
        return [(span.shot, span.start, end) for span, end in zip(self.spans, ends, strict=True)]


def fitting_overlaps(frames: Sequence[int], overlaps: Sequence[int]) -> list[int]:
    """Overlaps that fit shots of these lengths, none larger than asked: a delivery can be shorter than planned.

    Every shot keeps a frame of its own; where two overlaps do not fit into one shot, the later one gives way.
    """
    fitting: list[int] = []
    for index, (own, asked) in enumerate(zip(frames, overlaps, strict=True)):
        before = frames[index - 1] - fitting[-1] - 1 if index else 0
        fitting.append(max(0, min(asked, before, own - 1)))
    return fitting
