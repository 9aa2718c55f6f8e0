"""Clips whose defects are known, because they are drawn here."""

from pathlib import Path

import ffmpeg

from prefect_ltx.media import generator, run_ffmpeg, source, target

WIDTH, HEIGHT, RATE = 384, 224, 24


class Clips:
    """Clips drawn by ffmpeg's generators, 384x224 at 24 fps, into a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def opened_by(
        self, still: Path, lead_in: int, frames: int, *, crop: str = "", audio: bool = True
    ) -> Path:
        """A shot that begins with `lead_in` frames of a picture; `crop` is a part of it, w:h:x:y."""
        picture = source(still).video
        if crop:
            picture = picture.filter("crop", *crop.split(":"))
        picture = picture.filter("scale", WIDTH, HEIGHT).filter("setsar", 1).filter("format", "yuv420p")
        parts = []
        if lead_in:
            shown = picture.filter("loop", loop=-1, size=1).filter("settb", f"1/{RATE}").filter("setpts", "N")
            parts.append(shown.filter("trim", end_frame=lead_in))
        if lead_in < frames:
            shot = generator(f"testsrc2=s={WIDTH}x{HEIGHT}:r={RATE}").video.filter("format", "yuv420p")
            parts.append(
                shot.filter("settb", f"1/{RATE}")
                .filter("setsar", 1)
                .filter("trim", end_frame=frames - lead_in)
            )
        video = ffmpeg.concat(*parts) if len(parts) > 1 else parts[0]
        sound = f"sine=f=220:r=48000:d={frames / RATE:.6f}" if audio else None
        return await self.write(video, sound, frames=frames, name=f"lead{lead_in}.mp4")

    async def generated(
        self, picture: str, sound: str | None = None, *, frames: int = 49, change: str = ""
    ) -> Path:
        """A clip of a lavfi source; `change` is a filter of its sound, `name=arguments`."""
        return await self.write(generator(picture).video, sound, frames=frames, change=change)

    async def write(
        self, video: object, sound: str | None, *, frames: int, name: str = "clip.mp4", change: str = ""
    ) -> Path:
        streams = [video]
        if sound:
            audio = generator(sound).audio
            if change:
                audio = audio.filter(change.partition("=")[0], *change.partition("=")[2].split(":"))
            streams.append(audio)
        path = self.folder / name
        options = {"c:v": "libx264", "preset": "veryfast", "crf": 20, "pix_fmt": "yuv420p", "r": RATE}
        await run_ffmpeg(target(*streams, path=path, **options, **{"frames:v": frames, "c:a": "aac"}))
        return path
