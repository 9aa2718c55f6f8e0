"""The outputs that are videos: for the web, for social platforms, as a proxy, as HLS; and the audio alone.

x264 runs with a fixed number of threads, because its bytes depend on it.
"""

from pathlib import Path
from typing import Any, Final

from prefect_ltx.media.graph import BITEXACT, BT709, target
from prefect_ltx.media.jobs import Clip, Expected, Job
from prefect_ltx.media.recipe import AudioFile, HlsVideo, ProxyVideo, SocialVideo, WebVideo
from prefect_ltx.media.shape import covering, even, fit_for_the_web, inside

_X264: Final = "threads=4:lookahead-threads=1"
_TAG_COPY: Final = "h264_metadata=" + ":".join(
    ("colour_primaries=1", "transfer_characteristics=1", "matrix_coefficients=1", "video_full_range_flag=0")
)
_TICKS: Final = 90_000
_FAST_START: Final = {"movflags": "+faststart", **BITEXACT}
_SHRINK: Final = 8  # a blurred ground is worked on at an eighth of the size


def web_job(clip: Clip, output: WebVideo) -> Job:
    """Copied where it is fit and nothing changes its pictures; else encoded, frame for frame."""
    info, shape, path = clip.info, clip.shape, clip.folder / f"{output.stem}.mp4"
    copied = (
        output.copy_if_fit
        and clip.may_copy
        and shape.untouched
        and fit_for_the_web(info)
        and info.bit_rate <= output.copy_up_to_mbps * 1_000_000
    )
    size = (shape.width, shape.height) if copied else (even(shape.width), even(shape.height))

    def make(pictures: Any, audio: Any) -> Any:
        if copied:
            options = {"c:v": "copy", **({"bsf:v": _TAG_COPY} if shape.tag_colour else {})}
            return _mp4(path, clip.origin[str(info.stream)], audio, options)
        return _mp4(path, _finished(clip, pictures, size), audio, _x264(clip, output.preset, output.crf))

    return Job(
        pictures=not copied,
        sound=clip.has_sound,
        make=make,
        files=(_expected(clip, output.stem, path, size, video="copied" if copied else "encoded"),),
        weight=0 if copied else 4.0 * size[0] * size[1],
        steady=0 if copied else shape.frames,
        copies=copied,
    )


def social_job(clip: Clip, output: SocialVideo) -> Job:
    """A crop at the anchor, or the whole picture on a blurred and enlarged copy of itself."""
    path, size = clip.folder / f"{output.stem}.mp4", output.size

    def make(pictures: Any, audio: Any) -> Any:
        framed = (_cropped if output.fit == "crop" else _on_blur)(clip, pictures, output)
        return _mp4(path, _finished(clip, framed, None), audio, _x264(clip, output.preset, output.crf))

    return Job(
        pictures=True,
        sound=clip.has_sound,
        make=make,
        files=(_expected(clip, output.stem, path, size, aspect=output.aspect, fit=output.fit),),
        weight=2.0 * size[0] * size[1],
        steady=clip.shape.frames,
    )


def proxy_job(clip: Clip, output: ProxyVideo) -> Job:
    """At most `height` high, with the width that follows."""
    path = clip.folder / f"{output.stem}.mp4"
    height = even(min(output.height, clip.shape.height))
    size = even(round(height * clip.shape.width / clip.shape.height)), height

    def make(pictures: Any, audio: Any) -> Any:
        return _mp4(path, _finished(clip, pictures, size), audio, _x264(clip, output.preset, output.crf))

    return Job(
        pictures=True,
        sound=clip.has_sound,
        make=make,
        files=(_expected(clip, output.stem, path, size),),
        weight=1.0 * size[0] * size[1],
        steady=clip.shape.frames,
    )


def hls_job(clip: Clip, output: HlsVideo) -> Job:
    """One media file in byte ranges, cut at key frames that are forced at every segment's start."""
    shape, size = clip.shape, (even(clip.shape.width), even(clip.shape.height))
    playlist, media = clip.folder / f"{output.stem}.m3u8", clip.folder / f"{output.stem}_media.mp4"
    every = max(1, round(output.segment_seconds * shape.rate))

    def make(pictures: Any, audio: Any) -> Any:
        options = {
            **_x264(clip, output.preset, output.crf, f":keyint={every}:min-keyint={every}:scenecut=0"),
            **_aac(audio),
            "hls_time": output.segment_seconds,
            "hls_playlist_type": "vod",
            "hls_segment_type": "fmp4",
            "hls_flags": "+single_file+independent_segments",
            "hls_segment_filename": f"file:{media.absolute()}",
            **BITEXACT,
        }
        streams = [_finished(clip, pictures, size), *([] if audio is None else [audio])]
        return target(*streams, path=playlist, **options)

    return Job(
        pictures=True,
        sound=clip.has_sound,
        make=make,
        files=(
            Expected(output.stem, playlist, "playlist", duration=shape.duration, media=media),
            _expected(clip, f"{output.stem}_media", media, size),
        ),
        weight=2.0 * size[0] * size[1],
        steady=shape.frames,
    )


def audio_job(clip: Clip, output: AudioFile) -> Job | None:
    """AAC or 24 bit PCM at 48 kHz; None where there is no audio."""
    if not clip.has_sound:
        return None
    path = clip.folder / f"{output.stem}.{output.format}"
    options = {"c:a": "aac", "b:a": f"{output.kbps}k"} if output.format == "m4a" else {"c:a": "pcm_s24le"}
    return Job(
        pictures=False,
        sound=True,
        make=lambda _, audio: target(audio, path=path, **options, **BITEXACT),
        files=(
            Expected(
                output.stem,
                path,
                "audio",
                duration=clip.shape.sound_seconds,
                audio=True,
                lufs=clip.loud,
                facts=_loudness_facts(clip),
            ),
        ),
    )


def _mp4(path: Path, pictures: Any, audio: Any, options: dict[str, Any]) -> Any:
    streams = [pictures, *([] if audio is None else [audio])]
    return target(*streams, path=path, **options, **_aac(audio), **_FAST_START)


def _x264(clip: Clip, preset: str, crf: int, more: str = "") -> dict[str, Any]:
    options = {"c:v": "libx264", "preset": preset, "crf": crf, "fps_mode": "passthrough"}
    if not clip.shape.uneven:
        return options | {"x264-params": _X264 + more}
    # By itself ffmpeg counts time in frames of the mean rate, and says of each frame that it lasts as long as the
    # source claims, which players and playlists add up. Lengths are known where no frame is decoded before another.
    last = round(clip.shape.last_seconds * _TICKS)
    return options | {
        "x264-params": f"{_X264}{more}:bframes=0",
        "enc_time_base": f"1/{_TICKS}",
        "bsf:v": rf"setts=duration=if(eq(NEXT_DTS\,NOPTS)\,{last}\,NEXT_DTS-DTS)",
    }


def _aac(audio: Any) -> dict[str, Any]:
    return {} if audio is None else {"c:a": "aac", "b:a": "160k"}


def _finished(clip: Clip, pictures: Any, size: tuple[int, int] | None) -> Any:
    """Scaled, in the encoder's pixel format, and tagged."""
    if size is not None and size != (clip.shape.width, clip.shape.height):
        pictures = pictures.filter("scale", *size)
    pictures = pictures.filter("format", "yuv420p").filter("setsar", 1)
    return pictures.filter("setparams", **BT709) if clip.shape.tag_colour else pictures


def _cropped(clip: Clip, pictures: Any, output: SocialVideo) -> Any:
    width, height = output.size
    wide, high = covering((clip.shape.width, clip.shape.height), output.size)
    left, top = _offset((wide - width) * output.anchor), _offset((high - height) * output.anchor)
    return pictures.filter("scale", wide, high).filter("crop", width, height, left, top)


def _on_blur(clip: Clip, pictures: Any, output: SocialVideo) -> Any:
    width, height = output.size
    size = clip.shape.width, clip.shape.height
    halves = pictures.filter_multi_output("split", 2)
    front, ground = halves[0], halves[1]
    little = even(width / _SHRINK), even(height / _SHRINK)
    ground = (
        ground.filter("scale", *covering(size, little), flags="fast_bilinear")
        .filter("crop", *little)
        .filter("gblur", sigma=4)
        .filter("scale", width, height, flags="bilinear")
        .filter("setsar", 1)
    )
    wide, high = inside(size, output.size)
    front = front.filter("scale", wide, high).filter("setsar", 1)
    return ground.overlay(front, x=_offset((width - wide) / 2), y=_offset((height - high) / 2))


def _offset(pixels: float) -> int:
    """An offset that falls on a whole colour sample."""
    return 2 * int(pixels / 2)


def _expected(clip: Clip, name: str, path: Path, size: tuple[int, int], **facts: Any) -> Expected:
    return Expected(
        name,
        path,
        "video",
        width=size[0],
        height=size[1],
        frames=clip.shape.frames,
        duration=clip.shape.duration,
        audio=clip.has_sound,
        lufs=clip.loud,
        facts=facts | _loudness_facts(clip),
    )


def _loudness_facts(clip: Clip) -> dict[str, Any]:
    return {
        "loudness_before_lufs": clip.level and clip.level.before.integrated,
        "loudness_target_lufs": clip.loud,
    }
