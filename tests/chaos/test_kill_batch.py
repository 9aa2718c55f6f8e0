"""A batch that is killed at random and run again: no new charge for what was submitted, and the same archive."""

import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from support import environment

from prefect_ltx.archive import Archive
from prefect_ltx.generation import Services
from prefect_ltx.ledger import Ledger, Owner, State
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("prefect_server")]

CHILD = Path(__file__).with_name("batch_child.py")
ROUNDS = max(1, int(os.environ.get("CHAOS_ROUNDS", "0")) // 10)
"""`make chaos` sets 100; the short form has one round of two kills."""
ROWS = 18


@contextmanager
def own_fal(folder: Path) -> Iterator[LocalFal]:
    """A fal with a few jobs at once, each long enough to be cut short.

    One for each ledger: two ledgers that buy the same from one account cannot tell their requests apart, and a
    submit that was cut off would be parked for a person.
    """
    with LocalFal(
        data=folder / "fal", renderer="prefect_ltx.local.stored_clip:StoredClipRenderer", render_seconds=0.2
    ) as server:
        server.faults.add("concurrency", value=4)
        yield server


def requests(sheet: Path) -> list[dict[str, Any]]:
    """Rows with seeds, rows without, and two that ask for the same."""
    base = {
        "prompt": "Reference sheet: a cup. Generated video: it turns.",
        "image_url": str(sheet),
        "num_frames": 9,
        "resolution": "256x128",
    }
    seeds = [*range(ROWS - 6), 0, 1, *[None] * 4]
    return [base | ({} if seed is None else {"seed": seed}) for seed in seeds]


def run(batch: Path, fal: LocalFal, folder: Path, *after: str) -> int:
    from prefect.settings import PREFECT_API_URL

    environ = os.environ | environment(fal.url, folder)
    environ |= {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    child = Forked(str(CHILD), str(batch), *after, env=environ)
    _, errors = child.communicate()
    assert child.returncode in (0, -signal.SIGKILL), errors[-2000:]
    return child.returncode


async def contents(folder: Path) -> list[tuple[str, str]]:
    """What an archive holds, by seed and bytes; drawn seeds differ between runs and are only counted."""
    archive = Archive(str(folder / "archive"))
    assert (await archive.verify()).ok
    given = set(range(ROWS - 6))
    return sorted(
        (str(each.seed) if each.seed in given else "drawn", each.files[0].sha256)
        for each in [each async for each in archive.manifests()]
    )


@pytest.mark.parametrize("round_", range(ROUNDS))
async def test_batch_killed_at_random_ends_as_an_undisturbed_one(
    round_: int, tmp_path: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two kills at random instants, then a whole run: one charge a video, all of it archived, nothing left over."""
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps(requests(media_folder / "sheet.png")))
    calm, wild = tmp_path / "calm", tmp_path / "wild"
    videos = ROWS - 2
    with own_fal(calm) as fal:
        assert run(batch, fal, calm) == 0
        assert len(fal.bill) == videos
    with own_fal(wild) as fal:
        await _killed_and_run_again(fal, batch, wild, random.Random(round_), monkeypatch)
        assert len(fal.bill) == videos
    assert await contents(wild) == await contents(calm)


async def _killed_and_run_again(
    fal: LocalFal, batch: Path, wild: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = 0
    for _ in range(2):
        kills += run(batch, fal, wild, f"{chance.uniform(0.05, 1.2):.2f}") != 0
    for _ in range(3):
        if run(batch, fal, wild) == 0:
            break
    assert kills >= 1
    for name, value in environment(fal.url, wild).items():
        monkeypatch.setenv(name, value)
    async with Services.from_settings(Settings()) as services:
        report = await sweep_all(services, Owner.here(announces_posts=True))
        assert report.double_charges == []
        assert report.items == []
    with Ledger(environment(fal.url, wild)["PREFECT_LTX_LEDGER"]) as ledger:
        states = {row.state for row in ledger.find(live=True)}
    assert states == {State.ARCHIVED}
