"""The same fault ends the same way, whoever makes the video: there is one composition of a generation's steps."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import submits
from typer.testing import CliRunner

from prefect_ltx.batch import BatchRun, plan_rows, read_batch
from prefect_ltx.blocks import GenerationPreset
from prefect_ltx.cli import app
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import (
    best_of_takes,
    finish_generation,
    generate_batch,
    ingredient_to_video,
    storyboard_film,
    submit_only,
)
from prefect_ltx.generation import Run, Services
from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal
from prefect_ltx.settings import Settings

SMALL: dict[str, Any] = {
    "num_frames": 9,
    "resolution": {"width": 256, "height": 128},
    "video_write_mode": "fast",
}


class Fault(NamedTuple):
    """A fault of fal's for one generation, and the end that it has to come to."""

    knobs: tuple[tuple[str, dict[str, Any]], ...]
    state: State
    posts: int
    charges: int
    money: str = ""
    """What the message has to say of the money, where there is an error."""


FAULTS = {
    "429 on submit": Fault((("reject_429", {}),), State.ARCHIVED, 2, 1),
    "503 on submit, not accepted": Fault((("reject_5xx", {}),), State.ARCHIVED, 2, 1),
    "lost reply": Fault((("lost_reply", {}),), State.ARCHIVED, 1, 1),
    "HTML 502 on status": Fault((("edge_error", {"value": 502, "route": "status"}),), State.ARCHIVED, 1, 1),
    "odd result": Fault((("odd_result", {"field": "seed", "to": None}),), State.ARCHIVED, 1, 1),
    "billed 422": Fault((("job_422", {}), ("bill_422", {"times": 1})), State.FAILED, 1, 1, "billed"),
    "false 404 on the result": Fault((("false_404", {"route": "result"}),), State.ARCHIVED, 1, 1),
    "result expired, still listed": Fault((("result_404", {}),), State.ARCHIVED, 1, 1),
}

Path_ = Callable[[IngredientRequest, Path], Awaitable[str]]


async def by_row(request: IngredientRequest, folder: Path) -> str:
    async with Services.from_settings(Settings()) as services:
        run = Run.begin(services, at_fal=1)
        try:
            rows = await plan_rows(run, read_batch([request]))
            return (await BatchRun(run, "rows", rows, at_fal=1, recipe="none").do(rows[0])).reason
        finally:
            await run.aclose()


async def by_flow(request: IngredientRequest, folder: Path) -> str:
    await ingredient_to_video(request, recipe="none", quality="off")
    return ""


async def by_batch(request: IngredientRequest, folder: Path) -> str:
    report = await generate_batch([request], recipe="none", quality="off")
    return report.rows[0].reason


async def by_takes(request: IngredientRequest, folder: Path) -> str:
    await best_of_takes(request, n=1, recipe="none")
    return ""


async def by_shot(request: IngredientRequest, folder: Path) -> str:
    shot = {"id": "one", "text": f"the cup turns {request.seed} times"}
    await storyboard_film(
        {
            "title": "Small",
            "resolution": SMALL["resolution"],
            "defaults": {"frames": 9, "settings": {"video_write_mode": "fast"}},
            "cast": {"cup": {"look": "a white cup", "images": [request.image_url]}},
            "shots": [shot],
        },
        recipe="none",
    )
    return ""


async def by_halves(request: IngredientRequest, folder: Path) -> str:
    handle = await submit_only(request)
    await finish_generation(handle.generation_id, recipe="none", quality="off")
    return ""


async def by_preset(request: IngredientRequest, folder: Path) -> str:
    preset = GenerationPreset(defaults=SMALL, recipe="none")
    run = await preset.trigger(prompt=request.prompt, image_url=request.image_url, seed=request.seed)
    await run.fetch_result()
    return ""


async def by_command(request: IngredientRequest, folder: Path) -> str:
    file = folder / "request.json"
    file.write_text(json.dumps(request.model_dump(mode="json", exclude_none=True)))
    arguments = ["generate", str(file), "--recipe", "none", "--quality", "off"]
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    return done.stderr if done.exit_code else ""


@pytest.fixture
def fal() -> Iterator[LocalFal]:
    """A fal that copies one clip, whatever is asked."""
    with LocalFal(renderer="prefect_ltx.local.stored_clip:StoredClipRenderer") as server:
        yield server


async def ends(fal: LocalFal, folder: Path, sheet: Path, make: Path_, fault: Fault, seed: int) -> None:
    for name, how in fault.knobs:
        fal.faults.add(name, **how)
    posts, charges = submits(fal), len(fal.bill)
    request = IngredientRequest(prompt="A cup turns.", image_url=str(sheet), seed=seed, **SMALL)
    try:
        said = await make(request, folder)
    except Exception as error:
        said = str(error)
    fal.faults.clear()
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        (row, *_) = ledger.find(limit=1)
    end = (row.state, submits(fal) - posts, len(fal.bill) - charges)
    assert end == (fault.state, fault.posts, fault.charges), said
    assert bool(said) is bool(fault.money), said
    assert fault.money in said
    if said:
        assert "othing was sent" not in said
        assert row.held_usd > 0


@pytest.mark.parametrize("name", FAULTS)
async def test_a_batch_row_ends_as_its_fault_says(
    name: str, fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """State, POSTs, charges and the sentence about the money are those of the table."""
    await ends(fal, ltx_env, media_folder / "sheet.png", by_row, FAULTS[name], 1)


@pytest.mark.e2e
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Prefect's own client
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_ends_the_same_way_on_every_path(
    name: str, fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """A flow, a batch, takes, a film's shot, submit and finish, a preset and the command line: one table for all."""
    makes = (by_flow, by_batch, by_takes, by_shot, by_halves, by_preset, by_command)
    for seed, make in enumerate(makes, 1):
        await ends(fal, ltx_env, media_folder / "sheet.png", make, FAULTS[name], seed)
