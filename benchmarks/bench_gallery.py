"""What the gallery of a large archive costs: to build, and to open in a Chromium.

    python benchmarks/bench_gallery.py            10,000 generations; bars: open within 2 s and 10 MB
    python benchmarks/bench_gallery.py --short    300 generations, no bar in seconds

Opening is from the navigation to the page's load event; what is loaded is the page itself and the thumbnails in sight,
from a folder by file://. Chromium is the one of `make chromium`; without one only building is measured.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from browser import CHROMIUM, browser

from prefect_ltx.archive import Archive, ArchivedFile, Manifest
from prefect_ltx.media import Poster, Recipe, generator, render_renditions, run_ffmpeg, target
from prefect_ltx.media.thumbnail import thumbnail

BAR_SECONDS = 2.0
BAR_BYTES = 10_000_000
TEXT = (
    "boat harbour dawn fog lantern slow camera drifts over wet cobblestones while a violinist plays under the arcade "
    "and gulls rise copper light spills through tall windows dust glitters as the dancer turns her coat opens"
)


async def _poster(folder: Path) -> bytes:
    clip = folder / "clip.mp4"
    picture = generator("testsrc2=s=1280x720:r=24:d=0.2").video
    await run_ffmpeg(target(picture, path=clip, pix_fmt="yuv420p"))
    made = await render_renditions(clip, folder, recipe=Recipe(name="bench", outputs=[Poster()]))
    return next(each.path for each in made if each.path.suffix == ".jpg").read_bytes()


def _manifest(number: int, poster: bytes, chance: random.Random) -> Manifest:
    prompt = " ".join(chance.choices(TEXT.split(), k=60))
    key = sha256(str(number).encode()).hexdigest()
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=17 * number)
    return Manifest(
        generation_key=key,
        generation_id=key[:32],
        endpoint="fal-ai/ltx-2.3-quality/ingredient",
        account="bench",
        request={"prompt": prompt, "num_frames": 121, "seed": number},
        request_id=f"{key[:8]}-{key[8:12]}-7{key[13:16]}-8{key[17:20]}-{key[20:32]}",
        seed=number,
        prompt_sent=prompt,
        prompt_expanded=" ".join([prompt, *chance.choices(TEXT.split(), k=40)]),
        price_expected_usd=Decimal("0.4020525"),
        price_billed_usd=Decimal("0.4020525"),
        files=[
            ArchivedFile(
                role="video", name="video.mp4", sha256=key, size=3_000_000, content_type="video/mp4"
            ),
            ArchivedFile(
                role="poster",
                name="poster.jpg",
                sha256=sha256(poster + str(number).encode()).hexdigest(),
                size=len(poster),
                content_type="image/jpeg",
            ),
        ],
        delivered={"width": 1536, "height": 896, "num_frames": 121, "fps": "24"},
        created_at=when,
        folder=f"{when:%Y/%m/%d}/ingredient-{key[:16]}",
        tags=[f"shoot-{number % 40}"],
    )


async def _fill(root: Path, count: int) -> None:
    """Written past the archive: what it costs to archive is measured elsewhere."""
    poster = await _poster(root.parent)
    chance = random.Random(7)
    for number in range(count):
        manifest = _manifest(number, poster, chance)
        folder = root / manifest.folder
        folder.mkdir(parents=True)
        # JPEGs may be followed by anything: each poster is a file of its own, with a thumbnail of its own.
        (folder / "poster.jpg").write_bytes(poster + str(number).encode())
        (folder / "manifest.json").write_bytes(manifest.to_bytes())


def _opened(root: Path, count: int, profile: Path) -> tuple[float, int, int]:
    """Seconds to the load event, bytes loaded by then and a little after, cards after scrolling to the end once."""
    with browser(profile) as page:
        page.open("about:blank")
        began = time.perf_counter()
        page.open((root / "index.html").as_uri())
        seconds = time.perf_counter() - began
        page.until(f"document.getElementById('shown').textContent.startsWith('{count} of {count}')", 60)
        loaded = sum(
            (root / each.removeprefix(root.as_uri() + "/")).stat().st_size
            for each in set(page.requested())
            if each.startswith(root.as_uri())
        )
        before = int(page.evaluate("document.querySelectorAll('article:not([hidden])').length"))
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.until(f"document.querySelectorAll('article:not([hidden])').length > {before}", 60)
        cards = int(page.evaluate("document.querySelectorAll('article:not([hidden])').length"))
        return seconds, loaded, cards


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="300 generations, no bar in seconds")
    short = parser.parse_args().short
    count = 300 if short else 10_000
    folder = Path(tempfile.mkdtemp(prefix="bench-gallery-"))
    try:
        root = folder / "archive"
        root.mkdir()
        asyncio.run(_fill(root, count))
        for what in ("first", "again"):
            began = time.perf_counter()
            report = asyncio.run(Archive(root).gallery_report(thumbnail))
            assert (report.generations, report.skipped) == (count, [])
            print(f"gallery of {count}, built {what}: {time.perf_counter() - began:.1f} s")
        size = (root / "index.html").stat().st_size
        small = [path.stat().st_size for path in (root / ".thumbnails").iterdir()]
        print(f"page {size / 1e6:.2f} MB, {len(small)} thumbnails of {sum(small) / len(small) / 1000:.1f} kB")
        if CHROMIUM is None:
            print("no Chromium: opening is not measured")
            return 0
        seconds, loaded, cards = _opened(root, count, folder / "profile")
        print(f"opened in {seconds:.2f} s, {loaded / 1e6:.2f} MB loaded, {cards} cards after scrolling once")
        missed = [
            name for name, bad in (("bytes", loaded > BAR_BYTES), ("seconds", seconds > BAR_SECONDS)) if bad
        ]
        if missed and not (short and missed == ["seconds"]):
            print(f"bar missed: {', '.join(missed)}")
            return 1
        return 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
