"""`prefect-ltx demo`: both endpoints end to end on the embedded fal. No key, no network, nothing spent.

Everything it makes lies in one folder: the embedded fal's files, a Prefect server's home, a ledger, an
archive. The user's own ledger, archive and Prefect home are not touched.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefect_ltx.cli.frame import DEBUG_VARIABLE, Output, command
from prefect_ltx.cli.prefect_server import prefect_server, without_prefect
from prefect_ltx.cli.progress import quieten_prefect, say, shown

if TYPE_CHECKING:
    from prefect_ltx.archive import VerifyReport
    from prefect_ltx.engine import ArchivedGeneration

CLIP_PROMPT = "A dancer in a flowing red dress against a black backdrop, studio lighting, cinematic."
SHEET_PROMPT = (
    "Reference sheet: the panels show one character and the props. "
    "Generated video: the character walks through a market at dusk and looks up at the lanterns."
)
STAND_IN = "The pictures are stand-ins drawn by ffmpeg, not made by LTX-2.3."


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "demo", settings=False)(demo)


async def demo(
    output: Output,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for all of it.")] = Path(
        "prefect-ltx-demo"
    ),
) -> bool:
    """Both endpoints end to end on the embedded fal: no key, no network, nothing spent.

    Makes its own reference clip and sheet, runs both flows on a Prefect server of its own (or on the one that
    PREFECT_API_URL names), checks the archive and ends with a gallery.
    """
    started = time.monotonic()
    # A terminated demo still has to stop its server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = out.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    _settle_in(folder)

    from prefect_ltx.local import LocalFal

    async with AsyncExitStack() as stack:
        fal = stack.enter_context(LocalFal(data=folder / "fal"))
        os.environ["PREFECT_LTX_FAL_URL"] = fal.url
        say(f"The embedded fal serves {fal.url}")
        clip, sheet = await _prepare(stack, folder)
        made = await _both(clip, sheet)
        charges = len(fal.bill)
    report, gallery = await _check(folder / "archive")
    _show(output, folder, made, gallery, seconds=time.monotonic() - started)
    say(f"The embedded fal's bill has {charges} charges, for {len(made)} videos.")
    return report.ok


def _settle_in(folder: Path) -> None:
    """Point every setting at the demo's folder, and forget the key: it has no business with a stand-in."""
    api = os.environ.get("PREFECT_API_URL"), os.environ.get("PREFECT_API_KEY")
    clean = without_prefect(os.environ)
    for name in set(os.environ) - set(clean):
        del os.environ[name]
    for name in list(clean):
        if name == "FAL_KEY" or (name.startswith("PREFECT_LTX_") and name != DEBUG_VARIABLE):
            del os.environ[name]
    for name, value in zip(("PREFECT_API_URL", "PREFECT_API_KEY"), api, strict=True):
        if value:
            os.environ[name] = value
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ["PREFECT_LTX_HOME"] = str(folder)
    os.environ["PREFECT_LTX_LEDGER"] = f"sqlite:///{folder / 'ledger.db'}"
    os.environ["PREFECT_LTX_ARCHIVE"] = str(folder / "archive")
    quieten_prefect()


async def _prepare(stack: AsyncExitStack, folder: Path) -> tuple[Path, Path]:
    """The reference media, made while the Prefect server starts."""
    from prefect_ltx.media import make_reference_clip, make_reference_sheet

    clip, sheet = folder / "reference-clip.mp4", folder / "reference-sheet.png"
    making = asyncio.gather(make_reference_clip(clip), make_reference_sheet(sheet))
    try:
        if not os.environ.get("PREFECT_API_URL"):
            say("Starting a Prefect server; its first start takes a while")
            server = prefect_server(folder / "prefect")
            os.environ["PREFECT_API_URL"] = await asyncio.to_thread(server.__enter__)
            stack.push(server.__exit__)
        say(f"Prefect is at {os.environ['PREFECT_API_URL']}")
    finally:
        await making
    return clip, sheet


async def _both(clip: Path, sheet: Path) -> "list[ArchivedGeneration]":
    from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest
    from prefect_ltx.flows import ingredient_to_video, reference_video_to_video

    follow = ReferenceVideoRequest(prompt=CLIP_PROMPT, video_url=str(clip), seed=2026)
    compose = IngredientRequest(prompt=SHEET_PROMPT, image_url=str(sheet), seed=2026)
    with shown():
        made = await asyncio.gather(
            reference_video_to_video(follow, tags=["demo"]),
            ingredient_to_video(compose, tags=["demo"]),
            # Both are let to end: what one has done is there for the next run to go on with.
            return_exceptions=True,
        )
    for each in made:
        if isinstance(each, BaseException):
            raise each
    return [each for each in made if not isinstance(each, BaseException)]


async def _check(location: Path) -> "tuple[VerifyReport, str]":
    from prefect_ltx.archive import Archive

    archive = Archive(str(location))
    try:
        return await archive.verify(), await archive.gallery()
    finally:
        await archive.aclose()


def _show(
    output: Output, folder: Path, made: "list[ArchivedGeneration]", gallery: str, *, seconds: float
) -> None:
    from prefect_ltx.cli.tables import facts, grid, usd

    would_cost = sum((each.price_expected_usd for each in made), Decimal(0))
    rows = [
        (
            each.endpoint.rpartition("/")[2],
            each.seed,
            each.price_expected_usd,
            "paid for earlier, reused" if each.reused else "made now",
            each.video,
        )
        for each in made
    ]
    output.result(
        {
            "generations": made,
            "on_fal_it_would_have_cost_usd": would_cost,
            "spent_usd": Decimal(0),
            "stand_in": True,
            "gallery": gallery,
            "seconds": round(seconds, 1),
        },
        grid(("endpoint", "#seed", "$on fal", "", "video"), rows),
        "",
        facts(
            {
                "gallery": gallery,
                "took": f"{seconds:.0f} s",
                "money": f"on fal this would have cost {usd(would_cost)}; nothing was spent",
                "note": STAND_IN,
                "Prefect UI": f"PREFECT_HOME={folder / 'prefect'} prefect server start",
            }
        ),
    )
