"""The steps on Dask: two worker processes on loopback, everything by module path and pickle."""

import os
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect_dask import DaskTaskRunner
from support import SECRET, submits

from prefect_ltx.archive import Archive
from prefect_ltx.fal import IngredientRequest
from prefect_ltx.flows import finish_generation, ingredient_to_video
from prefect_ltx.local import LocalFal
from prefect_ltx.tasks import await_generation, submit_generation

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(300)]


def cluster() -> Any:
    """Two processes of this machine's own."""
    return DaskTaskRunner(
        cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    )


def request(folder: Path, seed: int) -> IngredientRequest:
    return IngredientRequest(
        prompt="Reference sheet: a cup. Generated video: it turns.",
        image_url=str(folder / "sheet.png"),
        num_frames=9,
        resolution={"width": 256, "height": 128},
        seed=seed,
    )


@flow(task_runner=cluster())
async def three_on_dask(requests: list[IngredientRequest]) -> list[str]:
    """Submit and wait on the cluster, then finish where the flow runs (docs/distributed.md)."""
    handles = [submit_generation.submit(each) for each in requests]
    waited = [await_generation.submit(each) for each in handles]
    return [(await finish_generation(each.result().generation_id, recipe="none")).folder for each in waited]


async def test_steps_run_on_dask_workers_and_each_is_paid_for_once(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """Three requests, one of them twice, over two Dask processes: two charges, two archived videos."""
    first, second = request(media_folder, 1), request(media_folder, 2)
    folders = await three_on_dask([first, second, first])
    assert folders[0] == folders[2] != folders[1]
    assert submits(fal) == len(fal.bill) == 2
    archive = Archive(str(ltx_env / "archive"))
    assert len([each async for each in archive.manifests()]) == 2
    assert (await archive.verify()).ok
    assert os.environ["FAL_KEY"] == SECRET  # read by each worker from its own environment, never pickled


async def test_a_flow_of_ours_takes_the_task_runner(fal: LocalFal, ltx_env: Path, media_folder: Path) -> None:
    """A flow of this package runs unchanged with Dask's task runner."""
    on_dask = ingredient_to_video.with_options(task_runner=cluster())
    archived = await on_dask(request(media_folder, 3), recipe="none")
    assert archived.reused is False
    assert len(fal.bill) == 1
