"""Draw the pictures and the clip that storyboard.yaml names, with ffmpeg: `python examples/storyboard/draw.py`.

They stand for photographs of your own. Nothing is downloaded; the same script draws the same bytes.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from prefect_ltx.media import BITEXACT, generator, make_reference_clip, run_ffmpeg, target

BOX = tuple[float, float, float, float, str]
"""x, y, width and height as shares of the picture, and a colour."""

RED, GREY, SKIN, BRASS, GLOW = "0xa8281e", "0xb9bec4", "0xd9aa88", "0x8a6a2a", "0xfff1c0"
PICTURES: dict[str, tuple[str, str, list[BOX]]] = {
    "mara-face": ("480x640", "0xe6e9ec", [
        (0.10, 0.80, 0.80, 0.20, RED), (0.25, 0.12, 0.50, 0.30, GREY), (0.30, 0.22, 0.40, 0.52, SKIN),
        (0.37, 0.42, 0.06, 0.03, "0x202428"), (0.57, 0.42, 0.06, 0.03, "0x202428"),
        (0.42, 0.62, 0.16, 0.02, "0x8d463a"),
    ]),
    "mara-full": ("320x640", "0xe6e9ec", [
        (0.38, 0.04, 0.24, 0.06, GREY), (0.40, 0.07, 0.20, 0.12, SKIN), (0.26, 0.20, 0.48, 0.56, RED),
        (0.34, 0.76, 0.12, 0.20, "0x2c3440"), (0.54, 0.76, 0.12, 0.20, "0x2c3440"),
    ]),
    "lamp": ("400x480", "0xe6e9ec", [
        (0.44, 0.10, 0.12, 0.12, BRASS), (0.28, 0.22, 0.44, 0.08, BRASS), (0.33, 0.30, 0.34, 0.40, GLOW),
        (0.44, 0.42, 0.12, 0.18, "0xffb52e"), (0.26, 0.70, 0.48, 0.12, BRASS),
    ]),
    "boat": ("560x420", "0xe6e9ec", [
        (0.46, 0.12, 0.03, 0.52, "0x5a4630"), (0.49, 0.16, 0.28, 0.36, "0xf6f2e6"),
        (0.12, 0.64, 0.76, 0.12, "0x24507e"), (0.22, 0.76, 0.56, 0.08, "0x1b3d60"),
    ]),
    "shore": ("1280x480", "0x8a93a5", [
        (0.00, 0.52, 1.00, 0.22, "0x5e6c80"), (0.00, 0.74, 1.00, 0.26, "0x9a938a"),
        (0.86, 0.20, 0.03, 0.34, "0xf2f2f2"), (0.855, 0.15, 0.04, 0.06, "0xb03028"),
    ]),
    "room": ("1280x480", "0x5b4632", [
        (0.42, 0.08, 0.16, 0.62, "0x9fb4c9"), (0.495, 0.08, 0.01, 0.62, "0x3a2c1e"),
        (0.38, 0.70, 0.24, 0.05, "0x3a2c1e"), (0.00, 0.86, 1.00, 0.14, "0x40301f"),
    ]),
}  # fmt: skip


async def draw(folder: Path) -> None:
    """Write every picture and the clip into `folder`, made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (size, ground, boxes) in PICTURES.items():
        await _picture(folder / f"{name}.png", size, ground, boxes)
    await make_reference_clip(folder / "swell.mp4", width=512, height=288, frames=49, fps=24, seed=6)


async def _picture(path: Path, size: str, ground: str, boxes: list[BOX]) -> None:
    node: Any = generator(f"color=c={ground}:s={size}:r=1:d=1").video.filter("format", "rgb24")
    for x, y, width, height, colour in boxes:
        place = {"x": f"iw*{x}", "y": f"ih*{y}", "w": f"iw*{width}", "h": f"ih*{height}"}
        node = node.filter("drawbox", **place, color=colour, thickness="fill")
    await run_ffmpeg(target(node, path=path, **BITEXACT))


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("images")
    asyncio.run(draw(where))
    sys.stdout.write(f"{len(PICTURES)} pictures and a clip are in {where}\n")
