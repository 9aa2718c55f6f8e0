"""What making renditions costs: one decode for all outputs, beside one ffmpeg run for each, beside the floor.

Measured in one run, in turns, on the same clip, as medians of wall time:

- separate: the loudness, then every output of the recipe `web` by an ffmpeg run of its own, encoding the video.
  These are command lines as a person who knows ffmpeg writes them, not this package's plans: started directly,
  sound measured without decoding pictures, frames chosen before they are scaled, x264 with as many threads as it
  likes, and the same preset, quality, sizes and frames as ours
- together: the loudness, then all of them by one run, encoding the video          (bar: 0.60 of separate)
- floor: the loudness, decoding once, and each of those runs less the decoding     (bar: 1.15 of it)
- copied: as `together`, where the clip is fit for the web already                 (bar: 0.25 of separate)
- checked, copied and checked: `render_renditions` as it is called, with the full check of every output

`--source` says what the clip is: `h264`, as both endpoints deliver it (fit for the web: it is encoded only where
something changes its pictures, such as a trim), or `prores` (4444, MOV) and `vp9` (WebM), which fal's sibling
endpoints deliver and which have to be encoded. The bar for copying is for h264 alone.

What one decode can save is bounded by what is not decoding: `floor / separate` is printed beside the bars, and
together cannot come out much below it. With h264 and vp9, which decode in a tenth of the time that encoding takes,
that bound is above 0.60 of the CPU; with prores it is below. Wall time on idle cores comes out lower than CPU time,
because short runs of their own leave cores idle.

`python benchmarks/bench_postprocess.py [--short] [--source S] [--rounds N] [--json FILE]` ends with 1 where a bar
is missed. `--short` takes a smaller clip and fewer rounds, for a look. Where other work shares the machine, the
CPU column is the one to read.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import ffmpeg

from prefect_ltx.media import (
    BITEXACT,
    DEFAULT_LIMITS,
    RECIPES,
    MediaInfo,
    Recipe,
    WebVideo,
    ffmpeg_binary,
    ffmpeg_version,
    generator,
    probe,
    render_renditions,
    run_ffmpeg,
    target,
)
from prefect_ltx.media.loudness import Level, find_level
from prefect_ltx.media.plan import render_plan
from prefect_ltx.media.shape import evenly, shape_of

LOUDNORM = "loudnorm=I=-14:TP=-1.5:LRA=11"
FAST_START = ("-movflags", "+faststart")
BARS = {"together / separate": 0.60, "together / floor": 1.15, "copied / separate": 0.25}

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "h264": (
        ".mp4",
        {"c:v": "libx264", "preset": "veryfast", "crf": 22, "c:a": "aac", "movflags": "+faststart"},
    ),
    "prores": (
        ".mov",
        {"c:v": "prores_ks", "profile:v": "4444", "pix_fmt": "yuva444p10le", "c:a": "pcm_s16le"},
    ),
    "vp9": (
        ".webm",
        {
            "c:v": "libvpx-vp9",
            "deadline": "realtime",
            "cpu-used": 8,
            "b:v": "6M",
            "row-mt": 1,
            "c:a": "libopus",
        }
        | {"format": "webm"},
    ),
}

COPYING = RECIPES["web"]
ENCODING = COPYING.model_copy(
    update={
        "outputs": tuple(
            each.model_copy(update={"copy_if_fit": False}) if isinstance(each, WebVideo) else each
            for each in COPYING.outputs
        )
    }
)


class Bench:
    """One clip, and the ways of making renditions of it."""

    def __init__(self, clip: Path, folder: Path) -> None:
        self.clip = clip
        self.info: MediaInfo = probe(clip)
        self.folder = folder

    async def level(self) -> Level | None:
        assert self.info.audio is not None
        assert COPYING.loudness is not None
        return await find_level(
            self.clip,
            self.info.audio,
            target=COPYING.loudness.lufs,
            true_peak=COPYING.loudness.true_peak,
        )

    async def make(self, recipe: Recipe, level: Level | None) -> None:
        shape = shape_of(self.info, recipe, name=self.clip.name)
        plan = render_plan(
            self.clip, self.info, shape, recipe, self.folder, level=level, limits=DEFAULT_LIMITS
        )
        assert plan is not None
        await run_ffmpeg(plan.graph)

    async def decode(self) -> None:
        await ffmpeg_run("-i", self.clip, "-map", "0:v:0", "-f", "null", "-")

    async def measure(self) -> dict[str, str]:
        """The first of loudnorm's two passes, as people run it."""
        log = await ffmpeg_run(
            "-i", self.clip, "-vn", "-af", f"{LOUDNORM}:print_format=json", "-f", "null", "-", level="info"
        )
        found: dict[str, str] = json.loads(log[log.rindex("{") : log.rindex("}") + 1])
        return found

    def separate(self, found: dict[str, str]) -> dict[str, list[str | Path]]:
        """One command line for each output of `web`."""
        web = next(each for each in ENCODING.outputs if isinstance(each, WebVideo))
        picks = "+".join(f"eq(n\\,{pick})" for pick in evenly(self.info.frames, 12))
        loud = (
            f"{LOUDNORM}:measured_I={found['input_i']}:measured_TP={found['input_tp']}"
            f":measured_LRA={found['input_lra']}:measured_thresh={found['input_thresh']}"
            f":offset={found['target_offset']}:linear=true,aresample=48000"
        )
        tags = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
        video = ["-c:v", "libx264", "-preset", web.preset, "-crf", str(web.crf), "-pix_fmt", "yuv420p"]
        sheet = f"select={picks},scale=320:-2,tile=4x3:padding=4:margin=4"
        animated = ["-c:v", "libwebp_anim", "-loop", "0", "-quality", "40", "-compression_level", "2"]
        one = ["-frames:v", "1", "-update", "1"]
        return {
            "web.mp4": ["-vf", tags, *video, "-af", loud, "-c:a", "aac", "-b:a", "160k", *FAST_START],
            "poster.jpg": ["-an", "-vf", "thumbnail=12,thumbnail=12", "-q:v", "3", *one],
            "contact_sheet.jpg": ["-an", "-vf", sheet, "-fps_mode", "passthrough", "-q:v", "4", *one],
            "preview.webp": ["-an", "-vf", "fps=8,scale=480:-2", *animated],
        }

    async def alone(self, name: str, options: list[str | Path]) -> None:
        await ffmpeg_run("-i", self.clip, *options, self.folder / name)

    async def checked(self, recipe: Recipe) -> None:
        await render_renditions(self.clip, self.folder, recipe=recipe)

    async def round(self) -> dict[str, tuple[float, float]]:
        """Wall and CPU seconds of every step, by its name."""
        level = await self.level()
        alone = self.separate(await self.measure())
        steps: dict[str, Callable[[], Awaitable[Any]]] = {
            "loudness": self.level,
            "measure": self.measure,
            "decode": self.decode,
            **{
                f"alone: {name}": lambda name=name, options=options: self.alone(name, options)  # type: ignore[misc]
                for name, options in alone.items()
            },
            "one run, encoding": lambda: self.make(ENCODING, level),
            "one run, copying": lambda: self.make(COPYING, level),
            "checked, encoding": lambda: self.checked(ENCODING),
            "checked, copying": lambda: self.checked(COPYING),
        }
        return {name: await timed(step) for name, step in steps.items()}


async def ffmpeg_run(*arguments: str | Path, level: str = "error") -> str:
    """ffmpeg as a shell starts it; what it said."""
    process = await asyncio.create_subprocess_exec(
        ffmpeg_binary(),
        *("-nostdin", "-nostats", "-hide_banner", "-loglevel", level, "-y", *map(str, arguments)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"ffmpeg ended with {process.returncode}: {said.decode()}")
    return said.decode()


async def timed(step: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    before, began = os.times(), time.perf_counter()
    await step()
    wall, after = time.perf_counter() - began, os.times()
    return wall, sum(after[:4]) - sum(before[:4])


async def make_clip(folder: Path, kind: str, *, size: str, frames: int) -> Path:
    """A clip as a model delivers it: fine detail and motion, some grain, stereo sound."""
    suffix, codecs = SOURCES[kind]
    path = folder / f"clip{suffix}"
    ground = generator(f"mandelbrot=s={size}:r=24").video
    inset = generator("testsrc2=s=384x224:r=24").video
    picture = ground.overlay(inset, x=40, y=40).filter("noise", alls=2, allf="t").filter("format", "yuv420p")
    tone = generator("sine=f=220:r=48000").audio
    hiss = generator("anoisesrc=c=pink:a=0.1:r=48000:seed=1").audio
    sound = ffmpeg.filter([tone, hiss], "amix", inputs=2).filter("aformat", channel_layouts="stereo")
    options: dict[str, Any] = {
        "frames:v": frames,
        "t": frames / 24,
        **codecs,
        **BITEXACT,
    }
    await run_ffmpeg(target(picture, sound, path=path, **options))
    return path


def summary(rounds: list[dict[str, tuple[float, float]]], which: int) -> dict[str, float]:
    """Medians by name, and what is made of them; `which` is 0 for wall time, 1 for CPU time."""
    median = {name: statistics.median(each[name][which] for each in rounds) for name in rounds[0]}
    alone = [value for name, value in median.items() if name.startswith("alone: ")]
    loudness, measure, decode = median["loudness"], median["measure"], median["decode"]
    return median | {
        "separate": measure + sum(alone),
        "together": loudness + median["one run, encoding"],
        "copied": loudness + median["one run, copying"],
        "floor": measure + decode + sum(max(0.0, each - decode) for each in alone),
    }


def ratios(found: dict[str, float], source: str) -> dict[str, float]:
    names = [
        name for name in [*BARS, "floor / separate"] if source == "h264" or not name.startswith("copied")
    ]
    return {
        **{name: found[name.split(" / ")[0]] / found[name.split(" / ")[1]] for name in names},
        "checked, encoding / separate": found["checked, encoding"] / found["separate"],
        "checked, copying / separate": found["checked, copying"] / found["separate"],
    }


async def run(short: bool, source: str, rounds: int) -> dict[str, Any]:
    size, frames = ("768x448", 73) if short else ("1536x896", 121)
    with tempfile.TemporaryDirectory(prefix="bench-postprocess-") as folder:
        clip = await make_clip(Path(folder), source, size=size, frames=frames)
        bench = Bench(clip, Path(folder))
        await bench.decode()  # the first start of ffmpeg reads it from the disk
        measured = [await bench.round() for _ in range(rounds)]
    wall, cpu = summary(measured, 0), summary(measured, 1)
    return {
        "clip": {"source": source, "size": size, "frames": frames, "kbps": bench.info.bit_rate // 1000},
        "ffmpeg": ffmpeg_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "rounds": rounds,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "ratios": ratios(wall, source),
        "cpu_ratios": ratios(cpu, source),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a smaller clip, one round, no bar")
    parser.add_argument("--source", choices=SOURCES, default="h264", help="what the clip is (h264)")
    parser.add_argument("--rounds", type=int, help="how often every step is run (5; short: 1)")
    parser.add_argument("--json", type=Path, help="write what was measured to this file too")
    options = parser.parse_args()
    found = asyncio.run(run(options.short, options.source, options.rounds or (1 if options.short else 5)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    clip = found["clip"]
    print(
        f"{clip['frames']} frames of {clip['size']}, {clip['source']}, {clip['kbps']} kb/s; ffmpeg {found['ffmpeg']}, "
        f"{found['cpus']} CPUs, load {found['load']:.1f}; medians of {found['rounds']}\n"
    )
    print(f"{'':32}{'wall s':>9}{'CPU s':>9}")
    for name, seconds in found["wall_seconds"].items():
        print(f"{name:32}{seconds:9.2f}{found['cpu_seconds'][name]:9.2f}")
    print(f"\n{'ratio':32}{'wall':>9}{'CPU':>9}{'bar':>9}")
    missed = 0
    for name, ratio in found["ratios"].items():
        bar = BARS.get(name)
        verdict = "" if bar is None else f"{bar:9.2f}  {'held' if ratio <= bar else 'MISSED'}"
        missed += bar is not None and ratio > bar
        print(f"{name:32}{ratio:9.2f}{found['cpu_ratios'][name]:9.2f}{verdict}")
    return 1 if missed and not options.short else 0


if __name__ == "__main__":
    sys.exit(main())
