"""Seeds of a batch's rows from a scope: whoever runs the same file draws the same ones."""

from pathlib import Path

from prefect_ltx.batch import plan_rows, read_batch
from prefect_ltx.generation import Run, Services
from prefect_ltx.settings import Settings


async def _keys(source: list[dict[str, str]], flow_run_id: str, seed_scope: str) -> list[str]:
    async with Services.from_settings(Settings()) as services:
        run = Run.begin(services, at_fal=1)
        try:
            rows = await plan_rows(run, read_batch(source), flow_run_id=flow_run_id, seed_scope=seed_scope)
        finally:
            await run.aclose()
    return [row.plan.key for row in rows]


async def test_two_runs_in_one_scope_ask_for_the_same_videos(ltx_env: Path, media_folder: Path) -> None:
    """Planned side by side, before either has written anything, their rows have the same keys. The name is a scope."""
    row = {"prompt": "a cup", "image_url": str(media_folder / "sheet.png")}
    source = [row, row]
    first = await _keys(source, "run-1", "inbox:abc")
    assert len(set(first)) == 2
    assert await _keys(source, "run-2", "inbox:abc") == first
    assert not set(await _keys(source, "run-2", "inbox:other")) & set(first)
    assert await _keys(source, "run-2", "") == await _keys(source, "run-1", "")
