"""The film's sound as one graph, placed sample by sample under its picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import ffmpeg

from prefect_ltx.film.timeline import SAMPLE_RATE, Timeline
from prefect_ltx.media import MediaInfo, generator, source
from prefect_ltx.media.shown import heard

if TYPE_CHECKING:
    from prefect_ltx.film.join import Clip

CUT_SAMPLES: Final = 480
"""10 ms: too short to hear as a fade, long enough that no waveform breaks off."""
_ENCODER_EDGE: Final = 256
"""An encoder is told to stop in the middle of a wave, and answers with a crackle in the last samples."""
_MIRROR_MOST: Final = SAMPLE_RATE // 4
_TOLD_SECONDS: Final = 0.05
"""Sound that begins later than this is reported."""


def joined_sound(
    clips: "Sequence[Clip]", infos: Sequence[MediaInfo], timeline: Timeline
) -> tuple[Any, list[str]]:
    """A stereo stream of exactly `timeline.samples` samples at 48 kHz, and what a person should know of it.

    The graph has to run on the files' `own_clock`.
    """
    whole: Any = None
    told: list[str] = []
    for index, (clip, info, span) in enumerate(zip(clips, infos, timeline.spans, strict=True)):
        after = timeline.spans[index + 1] if index + 1 < len(clips) else None
        own = timeline.sample(span.end) - timeline.sample(span.start)
        tail = CUT_SAMPLES if after is not None and not after.overlap else 0
        skip = timeline.sample(clip.skip)
        stream = _placed(clip, info, index, skip, own, own + tail, told)
        if whole is None:
            whole = stream
            continue
        before = timeline.spans[index - 1]
        shared = timeline.sample(before.end) - timeline.sample(span.start) if span.overlap else CUT_SAMPLES
        # Equal power: the two shots' sounds have nothing to do with each other.
        whole = ffmpeg.filter([whole, stream], "acrossfade", ns=shared, c1="qsin", c2="qsin")
    return whole, told


def _placed(
    clip: "Clip", info: MediaInfo, index: int, skip: int, own: int, length: int, told: list[str]
) -> Any:
    if info.audio is None:
        told.append(f"shot {clip.shot} has no sound")
        return generator(f"anullsrc@shot{index}=r={SAMPLE_RATE}:cl=stereo").audio.filter(
            "atrim", end_sample=length
        )
    begins = info.audio.start - info.start
    ends = begins + info.audio.duration
    there = min(own, max(0, round(ends * SAMPLE_RATE) - skip - _ENCODER_EDGE))
    if (late := begins - skip / SAMPLE_RATE) >= _TOLD_SECONDS:
        told.append(f"shot {clip.shot}: its sound begins {late:.2f} s after its picture")
    stream = heard(source(clip.path, thread_queue_size=8 + index), info.audio, info.start)
    stream = stream.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
    stream = stream.filter("asetpts", "N/SR/TB")
    stream = stream.filter("atrim", start_sample=skip, end_sample=skip + there).filter("asetpts", "N/SR/TB")
    missing = length - there
    if 0 < missing <= min(_MIRROR_MOST, there):
        body, end = _twice(stream)
        mirror = end.filter("atrim", start_sample=there - missing).filter("areverse")
        stream = ffmpeg.concat(body, mirror.filter("asetpts", "N/SR/TB"), v=0, a=1)
    elif missing > 0:
        told.append(f"shot {clip.shot}: its sound ends {missing / SAMPLE_RATE:.2f} s before its picture")
        fade = min(CUT_SAMPLES, there)
        if fade:
            stream = stream.filter("afade", type="out", start_sample=there - fade, nb_samples=fade)
    # A header may promise a few samples more than are decoded: nothing after this may move because of it.
    return stream.filter("apad").filter("atrim", end_sample=length).filter("asetpts", "N/SR/TB")


def _twice(stream: Any) -> tuple[Any, Any]:
    both = stream.filter_multi_output("asplit", 2)
    return both[0], both[1]
