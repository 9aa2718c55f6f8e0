"""How far one request walks through the code, counted: the composition stays readable and finds nothing twice."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from prefect_ltx.fal import ReferenceVideoRequest
from prefect_ltx.flows import reference_video_to_video
from prefect_ltx.local import LocalFal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.usefixtures("prefect_server")]

ROOT = Path(__file__).parents[2]
ROOMS = ("flows/", "tasks/", "blocks/", "core/generation/")
ASIDE = {
    "core/generation/services.py",
    "core/generation/progress.py",
    "tasks/context.py",
    "tasks/handle.py",
    "tasks/policy.py",
    "core/generation/options.py",
    "core/generation/learned.py",
}
"""What every step uses, threads for the ledger, progress, the run's context, the handle; and how settings are read."""
MOST_HOPS = 35


class Walk:
    """The files of a run in the order in which a reader has to open them, and how often each function was called."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.calls: Counter[str] = Counter()

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or frame.f_code.co_name.startswith("<"):
            return
        name = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
        if not name.startswith((*ROOMS, "core/ledger/", "core/media/")):
            return
        # A coroutine that goes on is a call to the interpreter as well; it begins once.
        if frame.f_lasti <= 4:
            self.calls[f"{name}:{frame.f_code.co_name}"] += 1
        if name.startswith(ROOMS) and name not in ASIDE and name not in self.files:
            self.files.append(name)

    @contextmanager
    def watching(self) -> Iterator[None]:
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


async def test_one_request_walks_through_few_files_and_finds_nothing_twice(
    fal: LocalFal, ltx_env: Path, media_folder: Path
) -> None:
    """From the flow to the archive it opens few files; inputs, key, price and plan are each found once."""

    async def made(seed: int) -> None:
        request = ReferenceVideoRequest.model_validate(
            {
                "prompt": "A ball rolls.",
                "video_url": str(media_folder / "clip.mp4"),
                "num_frames": 9,
                "resolution": {"width": 256, "height": 128},
                "video_write_mode": "fast",
                "seed": seed,
            }
        )
        await reference_video_to_video(request, recipe="none")

    await made(1)  # imports and caches
    walk = Walk()
    with walk.watching():
        await made(2)
    hops = len(walk.files) - 1
    assert hops <= MOST_HOPS, "\n".join(walk.files)
    once = (
        "core/generation/inputs.py:fetch_input",
        "core/generation/plan.py:plan_of",
        "core/generation/plan.py:looked_up",
        "core/generation/plan.py:estimate_of",
    )
    assert {name: walk.calls[name] for name in once} == dict.fromkeys(once, 1)
