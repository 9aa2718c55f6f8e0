"""What is reserved is never less than what fal bills, whatever it delivers."""

import asyncio
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from generation_parts import submitted
from support import environment

from prefect_ltx.fal import ReferenceVideoRequest
from prefect_ltx.generation import Services, wait_for
from prefect_ltx.local import LocalFal
from prefect_ltx.media import make_reference_clip
from prefect_ltx.settings import Settings

DIRECT = {"skip_control_preprocess": True}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    sizes = {"square": (320, 320), "wide": (640, 272), "tall": (144, 256), "hd": (1280, 720)}
    for name, (width, height) in sizes.items():
        path = folder / f"{name}.mp4"
        asyncio.run(make_reference_clip(path, width=width, height=height, frames=9, fps=24))
    return {name: folder / f"{name}.mp4" for name in sizes}


@pytest.mark.parametrize(
    "knobs", [("control_area", "bill_padded_frames", "bill_requested"), ("pad_frames",), ("snap",), ()]
)
@pytest.mark.parametrize(
    ("clip", "asked"),
    [
        ("square", {}),
        ("wide", {}),
        ("tall", {"num_frames": 10}),
        ("square", {"resolution": {"width": 256, "height": 256}, "num_frames": 10}),
        ("tall", {"resolution": {"width": 700, "height": 500}, "num_frames": 12}),
        ("hd", DIRECT),
        ("square", DIRECT | {"resolution": {"width": 200, "height": 136}, "num_frames": 16}),
    ],
)
async def test_the_reserve_covers_the_bill(
    services: Services, fal: LocalFal, clips: dict[str, Path], knobs: tuple[str, ...], clip: str, asked: Any
) -> None:
    """Half a megapixel whatever is asked, padded frames, the source's size, what was asked for: all below it."""
    for knob in knobs:
        fal.faults.add(knob)
    control = {"control_video_url": str(clips[clip])} if "skip_control_preprocess" in asked else {}
    data = (
        {"prompt": "It turns.", "video_url": str(clips[clip]), "num_frames": 9, "seed": 7} | asked | control
    )
    request: Any = ReferenceVideoRequest.model_validate(data)
    row = await wait_for(services, await submitted(services, request))
    assert fal.bill.total_usd > 0
    assert fal.bill.total_usd <= row.price_upper_usd
    assert row.settled_usd == fal.bill.total_usd


async def test_an_embedded_fal_on_another_port_is_given_its_inputs_again(
    tmp_path: Path, make_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back from a copy of its data without its files, on another port: nothing is sent that it cannot read."""
    urls = []
    for seed in (7, 8):
        with LocalFal(data=tmp_path / "fal") as server:
            for name, value in environment(server.url, tmp_path).items():
                monkeypatch.setenv(name, value)
            async with Services.from_settings(Settings()) as services:
                row = await wait_for(services, await submitted(services, make_request(seed=seed)))
                urls.append(str(row.body["image_url"]))
            assert row.settled_usd == Decimal("0.0024075")
            assert urls[-1].startswith(server.url)
        shutil.rmtree(tmp_path / "fal" / "files", ignore_errors=True)
    assert urls[0] != urls[1]
