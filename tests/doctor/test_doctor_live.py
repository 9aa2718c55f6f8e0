"""`doctor --live` learns what the embedded fal's knobs were set to, and what depends on it reads the answers."""

from decimal import Decimal
from pathlib import Path

import pytest
from support import submits

from prefect_ltx.doctor import MOST_USD, learn, plan_live
from prefect_ltx.fal import FAL, ReferenceVideoRequest
from prefect_ltx.generation import Services, plan_request
from prefect_ltx.generation.learned import Learned, read_learned
from prefect_ltx.generation.services import Options
from prefect_ltx.ledger import BudgetExceeded, BudgetLimit, Owner
from prefect_ltx.local import LocalFal
from prefect_ltx.recovery import sweep_all
from prefect_ltx.settings import Settings


async def learned_of(folder: Path, **limits: Decimal) -> Learned:
    owner = Owner.here(announces_posts=True)
    async with Services.from_settings(Settings()) as services:
        services.limits = tuple(BudgetLimit(usd=usd, name=name) for name, usd in limits.items())
        plan = await plan_live(services, folder, owner)
        assert plan.upper_usd <= MOST_USD
        learned, path = await learn(services, plan, owner, Settings())
        assert path == Settings().home / "learned.json"
        assert read_learned(Settings().home, services.client.account) == learned
        # Paid for, archived, and nothing left to do.
        assert (await sweep_all(services, owner)).items == []
    return learned


async def test_a_fal_that_does_as_asked(ltx_env: Path, fal: LocalFal, tmp_path: Path) -> None:
    """No knob is on: sizes and frames come as asked, which leaves open what is billed."""
    learned = await learned_of(tmp_path)
    assert (learned.sizes, learned.frames, learned.billed_by) == ("as asked", "as asked", None)
    assert learned.auto_size == (896, 512)
    assert learned.listing_has_payloads is True
    assert learned.listing_lag_seconds is not None
    assert submits(fal) == len(fal.bill) == 3
    assert fal.bill.total_usd == Decimal(learned.spent_usd) <= MOST_USD


async def test_snapping_and_billing(ltx_env: Path, fal: LocalFal, tmp_path: Path) -> None:
    """A fal that works on the model's grid and bills what it delivers is told from one that does not."""
    fal.faults.add("snap")
    learned = await learned_of(tmp_path)
    assert (learned.sizes, learned.frames, learned.billed_by) == ("floor 64", "floor 8k+1", "delivered")


async def test_listing_lag(ltx_env: Path, fal: LocalFal, tmp_path: Path) -> None:
    """The lag is at least what the knob says, and settings that depend on it wait for many times as long."""
    fal.faults.add("listing_lag_seconds", value=4)
    learned = await learned_of(tmp_path)
    assert learned.listing_lag_seconds is not None
    assert learned.listing_lag_seconds >= 4
    async with Services.from_settings(Settings()) as services:
        assert services.options.listing_lag >= 80


async def test_listing_that_hides_what_waits(tmp_path: Path, ltx_env: Path, fal: LocalFal) -> None:
    """Where the listing hides queued requests, absence stops being a proof, even on a server of one's own."""
    async with Services.from_settings(Settings()) as services:
        assert services.options.absence_is_proof is True
    fal.faults.add("listing_hides_queued")
    fal.faults.add("concurrency", value=1)
    fal.faults.add("slow_run", times=3, value=5)
    learned = await learned_of(tmp_path)
    assert learned.listing_shows_queued is False
    async with Services.from_settings(Settings()) as services:
        assert services.options.absence_is_proof is False


async def test_listing_that_shows_what_waits(tmp_path: Path, ltx_env: Path, fal: LocalFal) -> None:
    """Where queued requests are listed with their payloads, absence is a proof."""
    fal.faults.add("concurrency", value=1)
    fal.faults.add("slow_run", times=3, value=4)
    learned = await learned_of(tmp_path)
    assert learned.listing_shows_queued is True
    assert learned.absence_is_proof is True
    fal.faults.add("listing_without_payloads")


async def test_a_budget_stops_it(ltx_env: Path, fal: LocalFal, tmp_path: Path) -> None:
    """The account's own limit holds for the doctor as well; nothing is sent beyond it."""
    with pytest.raises(BudgetExceeded):
        await learned_of(tmp_path, tight=Decimal("0.001"))
    assert submits(fal) == 0


async def test_a_dearer_account_is_asked_less(ltx_env: Path, fal: LocalFal, tmp_path: Path) -> None:
    """Where a megapixel costs more, only as many probes are sent as stay below three cents."""
    fal.faults.add("unit_price", value=0.004)
    learned = await learned_of(tmp_path)
    assert submits(fal) == len(learned.observed) == 2
    assert fal.bill.total_usd <= MOST_USD


def test_on_fal_what_is_set_wins_and_the_lag_is_never_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quick listing on one good day shortens nothing at fal; explicit settings win over what was learned."""
    from prefect_ltx.generation.learned import now, write_learned

    monkeypatch.setenv("PREFECT_LTX_HOME", str(tmp_path))
    told = Learned(
        host="fal.ai",
        learned_at=now(),
        listing_shows_queued=True,
        listing_has_payloads=True,
        listing_lag_seconds=2,
    )
    write_learned(tmp_path, "an-account", told)
    write_learned(tmp_path, "another", told.model_copy(update={"listing_shows_queued": None}))
    options = Options.from_settings(Settings(), FAL, "an-account")
    assert (options.listing_lag, options.absence_is_proof) == (600, True)
    options = Options.from_settings(Settings(), FAL, "another")
    assert (options.listing_lag, options.absence_is_proof) == (600, False)
    options = Options.from_settings(Settings(), FAL, "unknown")
    assert (options.listing_lag, options.absence_is_proof) == (600, False)
    monkeypatch.setenv("PREFECT_LTX_ABSENCE_IS_PROOF", "no")
    monkeypatch.setenv("PREFECT_LTX_LISTING_LAG_SECONDS", "1200")
    options = Options.from_settings(Settings(), FAL, "an-account")
    assert (options.listing_lag, options.absence_is_proof) == (1200, False)


async def test_auto_is_estimated_as_it_was_delivered(
    ltx_env: Path, fal: LocalFal, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size behind "auto" that was learned is the one that a plan expects, and its upper bound covers it."""
    from prefect_ltx.generation.learned import now, write_learned

    request = ReferenceVideoRequest(prompt="A boat", video_url=str(media_folder / "clip.mp4"), num_frames=9)
    async with Services.from_settings(Settings()) as services:
        before = await plan_request(services, request)
        write_learned(
            Settings().home,
            services.client.account,
            Learned(host="127.0.0.1", learned_at=now(), auto_size=(1280, 704)),
        )
    async with Services.from_settings(Settings()) as services:
        after = await plan_request(services, request)
    assert (before.width, before.height) == (896, 512)
    assert (after.width, after.height) == (1216, 704)
    assert after.price_upper_usd >= after.price_expected_usd > before.price_expected_usd
