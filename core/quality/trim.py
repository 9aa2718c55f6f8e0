"""A copy of a clip without its first frames, sound cut by the same time; the clip itself stays as it is."""

import asyncio
from pathlib import Path

from prefect_ltx.media import BITEXACT, probe, run_ffmpeg, source, target, verify_video


async def trim_start(video: Path | str, frames: int, out: Path | str, *, timeout: float = 600) -> Path:
    """Write `out` (.mp4), which begins at frame `frames` of `video`; what is left need not be 8k+1 frames.

    The picture is encoded anew (H.264, crf 14), because a cut is seldom at a key frame.

    Raises:
        ValueError: nothing would be left, or nothing would be cut.
        MediaError: the video cannot be decoded, or the copy did not come out right.
    """
    out = Path(out)
    info = await asyncio.to_thread(probe, video)
    if not 0 < frames < info.frames:
        raise ValueError(f"{frames} of {info.frames} frames cannot be cut from the start of a video")
    origin = source(video)
    picture = origin.video.filter("trim", start_frame=frames).filter("setpts", "PTS-STARTPTS")
    streams = [picture]
    if info.audio is not None:
        start = float(frames / info.frame_rate)
        sound = origin.audio.filter("atrim", start=f"{start:.6f}").filter("asetpts", "PTS-STARTPTS")
        streams.append(sound)
    out.parent.mkdir(parents=True, exist_ok=True)
    await run_ffmpeg(
        target(
            *streams,
            path=out,
            **{
                "c:v": "libx264",
                "preset": "veryfast",
                "crf": 14,
                "pix_fmt": "yuv420p",
                "x264-params": "threads=4:lookahead-threads=1",
                "fps_mode": "passthrough",
                "c:a": "aac",
                "b:a": "192k",
                "movflags": "+faststart",
                **BITEXACT,
            },
        ),
        expected_frames=info.frames - frames,
        timeout=timeout,
    )
    await verify_video(out, frames=info.frames - frames, audio=info.audio is not None)
    return out
