"""The stand-in's clips of a reference video: every input of the request shows in the picture, at its place.

- `video_url` gives the motion, in other colours and flat, outlined shapes; `video_strength` says how much of it.
- `control_video_url` takes its place as the structure: as it is with `skip_control_preprocess`, else its edges alone.
- `preserve_original_video` keeps `video_url` itself below; `strength` is how much of it is painted over.
- `image_url`, `mid_image_url` and `end_image_url` are shown whole on the first, the middle and the last frame.
"""

import math
from pathlib import Path
from typing import Any, Final

import ffmpeg

from prefect_ltx.local.pictures import backdrop, cover, dice, laid_over, pixel_format, rate, still, twice
from prefect_ltx.local.renderer import RenderJob
from prefect_ltx.media import source
from prefect_ltx.media.shown import EXACT

_FADE_FRAMES: Final = 16
_FIRST, _MIDDLE, _LAST = "image_url", "mid_image_url", "end_image_url"


def restyled_video(job: RenderJob) -> Any:
    """A stream of the job's size and rate; as long as its reference is repeated for, which is without an end."""
    # An endpoint of the same contract may have none of these.
    asked: dict[str, Any] = {
        name: getattr(job.request, name, default)
        for name, default in (
            ("video_strength", 1.0),
            ("strength", 1.0),
            ("preserve_original_video", False),
            ("skip_control_preprocess", False),
        )
    }
    # The square root keeps the reference readable at the default 0.6 and still ends at nothing.
    shows = math.sqrt(asked["video_strength"])
    control = job.media.get("control_video_url")
    if shows == 0 or (job.video is None and control is None):
        picture = backdrop(job, every=1)
    elif control is not None:
        picture = _controlled(job, control, direct=asked["skip_control_preprocess"])
    else:
        assert job.video is not None
        picture = _flat(job, _moving(job, job.video, 0))
    if 0 < shows < 1:
        picture = _mixed(picture, backdrop(job), shows)
    if job.video is not None and asked["preserve_original_video"] and asked["strength"] < 1:
        original = _moving(job, job.video, 1)
        picture = _mixed(picture, original, asked["strength"]) if asked["strength"] else original
    return _with_keyframes(job, picture)


def _moving(job: RenderJob, path: Path, place: int) -> Any:
    # ffmpeg-python takes two equal inputs for one: the place keeps them apart.
    picture = source(path, stream_loop=-1, thread_queue_size=8 + place).video
    return cover(picture.filter("fps", rate(job)), job)


def _flat(job: RenderJob, picture: Any) -> Any:
    chance = dice(job, "style")
    picture = picture.filter("hue", h=f"{chance.uniform(-150, 150):.3f}", s=f"{chance.uniform(0.9, 1.5):.3f}")
    steps = chance.choice((16, 20, 24, 32))
    picture = picture.filter("lutyuv", y=f"trunc(val/{steps})*{steps}+{steps // 2}")
    flat, edged = twice(picture)
    outline = edged.filter("sobel", planes=1)
    ink = f"{chance.uniform(0.5, 0.8):.3f}"
    picture = ffmpeg.filter(
        [flat, outline], "blend", c0_mode="subtract", c0_opacity=ink, c1_opacity=0, c2_opacity=0
    )
    return picture.filter("lagfun", decay=f"{chance.uniform(0.4, 0.65):.3f}", planes=1)


def _controlled(job: RenderJob, control: Path, *, direct: bool) -> Any:
    """The control signal as light and shade, in one of the seed's colours."""
    chance = dice(job, "control")
    picture = _moving(job, control, 2)
    if not direct:
        picture = picture.filter("sobel", planes=1)
    tint = (chance.randrange(96, 160), chance.randrange(96, 160))
    return picture.filter("lutyuv", u=tint[0], v=tint[1])


def _mixed(above: Any, below: Any, share: float) -> Any:
    return ffmpeg.filter([above, below], "blend", all_mode="normal", all_opacity=f"{share:.4f}")


def _with_keyframes(job: RenderJob, picture: Any) -> Any:
    last = job.num_frames - 1
    places = {_FIRST: 0, _MIDDLE: last // 2, _LAST: last}
    # So that each is gone before the next begins.
    fade = max(min(_FADE_FRAMES, job.num_frames // 4), 1)
    for number, (field, place) in enumerate(places.items()):
        path = job.media.get(field)
        if path is None:
            continue
        whole = source(path, thread_queue_size=16 + number).video
        # What says nothing of its matrix is taken for BT.709 here, and so is the clip.
        whole = cover(whole.filter("scale", out_color_matrix="bt709", out_range="tv", flags=EXACT), job)
        frames = min(place + fade + 1, job.num_frames)
        shown = still(job, whole, frames)
        if place:
            shown = shown.filter("fade", t="in", start_frame=place - fade, nb_frames=fade, alpha=1)
        if place < last:
            shown = shown.filter("fade", t="out", start_frame=place + 1, nb_frames=fade, alpha=1)
        picture = laid_over(picture, shown, job)
    return picture.filter("format", pixel_format(job.width, job.height))
