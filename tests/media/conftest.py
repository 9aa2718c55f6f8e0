from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.media import BITEXACT, generator, run_ffmpeg, target

MakeClip = Callable[..., Awaitable[Path]]


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Small generated videos: H.264 and AAC unless options say otherwise; `audio=None` for none."""

    async def make(
        name: str = "clip.mp4",
        *,
        size: str = "256x144",
        frames: int = 9,
        fps: str = "24",
        audio: str | None = "sine=f=330:r=48000",
        seconds: float | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / name
        streams = [generator(f"testsrc2=s={size}:r={fps}").video]
        settings: dict[str, Any] = {"c:v": "libx264", "pix_fmt": "yuv420p", "frames:v": frames, **BITEXACT}
        if audio:
            streams.append(generator(audio).audio)
            rate = float(Fraction(fps))
            settings |= {"c:a": "aac", "t": seconds or frames / rate}
        await run_ffmpeg(target(*streams, path=path, **{**settings, **options}))
        return path

    return make
