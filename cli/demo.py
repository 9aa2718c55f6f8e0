"""`prefect-ltx demo`: both endpoints end to end on the embedded fal. No key, no network, nothing spent.

Everything it makes lies in one folder: the embedded fal's files, a Prefect server's home, a ledger, an archive,
and the two request files that it ran. The user's own ledger, archive and Prefect home are not touched.
"""

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_ltx.cli.frame import DEBUG_VARIABLE, Output, command
from prefect_ltx.cli.progress import say

if TYPE_CHECKING:
    import asyncio

    from prefect_ltx.archive import VerifyReport
    from prefect_ltx.generation import ArchivedGeneration

REQUESTS: dict[str, dict[str, Any]] = {
    "reference-video-to-video": {
        "prompt": "A glass ball bounces along the quay while a barge drifts by, pastel morning light, cinematic.",
        "video_url": "reference-clip.mp4",
        "seed": 2026,
    },
    "ingredient": {
        "prompt": "Reference sheet: the panels show one character and the props. "
        "Generated video: the character walks along the shore at dusk and looks up at the lantern.",
        "image_url": "reference-sheet.png",
        "seed": 2026,
    },
}
STAND_IN = "The pictures are stand-ins drawn by ffmpeg, not made by LTX-2.3."


class DemoError(Exception):
    """One of the two generations did not succeed."""


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
    from prefect_ltx.local import LocalFal
    from prefect_ltx.reading import local_path

    started = time.monotonic()
    # A demo that is terminated still has to stop what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = local_path(str(out)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        fal = stack.enter_context(LocalFal(data=folder / "fal"))
        say(f"The embedded fal serves {fal.url}")
        environ = _environment(folder, fal.url)
        api = await _prepare(stack, folder, environ.get("PREFECT_API_URL"))
        say(f"Prefect is at {api}; running both flows at the same time")
        made = await _generate_both(folder, environ | {"PREFECT_API_URL": api})
        charges = len(fal.bill)
    report, gallery = await _check(folder / "archive")
    _show(output, folder, made, report, gallery, charges, time.monotonic() - started)
    return report.ok


def _environment(folder: Path, fal_url: str) -> dict[str, str]:
    """The environment of the two runs: every setting points into the folder, and there is no key.

    Prefect's own settings are left out, but for those that say how to reach a server that was asked for.
    """
    from prefect_ltx.cli.prefect_server import without_prefect

    ours = {name for name in os.environ if name.startswith("PREFECT_LTX_") and name != DEBUG_VARIABLE}
    clean = {
        name: value
        for name, value in without_prefect(os.environ).items()
        if name not in ours and name != "FAL_KEY"
    }
    reach = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_API_")}
    return (
        clean
        | (reach if "PREFECT_API_URL" in reach else {})
        | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_LTX_FAL_URL": fal_url,
            "PREFECT_LTX_HOME": str(folder),
            "PREFECT_LTX_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "PREFECT_LTX_ARCHIVE": str(folder / "archive"),
        }
    )


async def _prepare(stack: ExitStack, folder: Path, api: str | None) -> str:
    """The URL of the Prefect API; the reference media are made while its server starts."""
    import asyncio

    from prefect_ltx.cli.prefect_server import prefect_server

    making = asyncio.create_task(_make_requests(folder))
    try:
        if api is None:
            say("Starting a Prefect server of its own; the first start takes a while")
            server = prefect_server(folder / "prefect")
            api = await asyncio.to_thread(server.__enter__)
            stack.push(server.__exit__)
    finally:
        await making
    return api


async def _make_requests(folder: Path) -> None:
    from prefect_ltx.media import make_reference_clip, make_reference_sheet

    await make_reference_clip(folder / "reference-clip.mp4")
    await make_reference_sheet(folder / "reference-sheet.png")
    for name, request in REQUESTS.items():
        (folder / f"{name}.json").write_text(json.dumps(request, indent=2) + "\n")


async def _generate_both(folder: Path, environ: dict[str, str]) -> "list[ArchivedGeneration]":
    import asyncio

    # Both are let to end: what the one has made is there for the next run to go on with.
    made = await asyncio.gather(
        *(_generate(folder / f"{name}.json", environ) for name in REQUESTS), return_exceptions=True
    )
    for each in made:
        if isinstance(each, BaseException):
            raise each
    return [each for each in made if not isinstance(each, BaseException)]


async def _generate(request: Path, environ: dict[str, str]) -> "ArchivedGeneration":
    """Run `prefect-ltx generate` as a user would: a process of its own has told Prefect all before it ends."""
    import asyncio

    from prefect_ltx.generation import ArchivedGeneration

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect_ltx.cli", "generate", str(request), "--tag", "demo", "--json"),
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        result, last = await asyncio.gather(_all(process.stdout), _relay(process.stderr, request.stem))
        if await process.wait() != 0:
            raise DemoError(f"{request.stem}: {last.removeprefix('Error: ') or 'it ended without a word'}")
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return ArchivedGeneration.model_validate_json(result)


async def _all(stream: "asyncio.StreamReader | None") -> bytes:
    assert stream is not None
    return await stream.read()


async def _relay(stream: "asyncio.StreamReader | None", name: str) -> str:
    """Pass on every line of a run's stderr under its name; gives the last."""
    assert stream is not None
    last = ""
    async for line in stream:
        last = line.decode(errors="replace").rstrip()
        say(f"{name}: {last}")
    return last


async def _check(location: Path) -> "tuple[VerifyReport, str]":
    from prefect_ltx.archive import Archive
    from prefect_ltx.media.thumbnail import thumbnail

    archive = Archive(str(location))
    try:
        return await archive.verify(), await archive.gallery(thumbnail)
    finally:
        await archive.aclose()


def _show(
    output: Output,
    folder: Path,
    made: "list[ArchivedGeneration]",
    report: "VerifyReport",
    gallery: str,
    charges: int,
    seconds: float,
) -> None:
    from prefect_ltx.cli.tables import facts, grid, usd

    would_cost = sum((each.price_expected_usd for each in made), Decimal(0))
    rows = [
        (
            each.endpoint.rpartition("/")[2],
            each.seed,
            each.price_expected_usd,
            "paid for by an earlier run, reused" if each.reused else "made now",
        )
        for each in made
    ]
    output.result(
        {
            "generations": made,
            "on_fal_it_would_have_cost_usd": would_cost,
            "spent_usd": Decimal(0),
            "stand_in": True,
            "verified": report,
            "archive": str(folder / "archive"),
            "gallery": gallery,
            "seconds": round(seconds, 1),
        },
        grid(("endpoint", "#seed", "$price at fal", ""), rows),
        "",
        facts(
            {
                "gallery": gallery,
                "archive": f"{folder / 'archive'} (every byte verified)",
                "money": f"at fal this would have cost {usd(would_cost)}; nothing was spent",
                "bill": f"the embedded fal charged {charges} times, for {len(made)} videos",
                "note": STAND_IN,
                "took": f"{seconds:.0f} s",
                "see the runs": None
                if os.environ.get("PREFECT_API_URL")
                else f"PREFECT_HOME={folder / 'prefect'} {Path(sys.executable).parent / 'prefect'} server start",
            }
        ),
    )
