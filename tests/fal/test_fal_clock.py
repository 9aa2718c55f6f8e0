import pickle
import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from fal_wire import Answer, Seen, Wire, answer
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import INGREDIENT, FalClient, FalClock, FalError, FalUnavailable, Moment
from prefect_ltx.fal.clock import Stopwatch, asked_at

ID = "01a083d0-1d3c-7000-8000-00000000000a"
ROOT = f"/fal-ai/ltx-2.3-quality/requests/{ID}"
STATUS = f"{ROOT}/status"
LISTING = "/v1/models/requests/by-endpoint"
RUNNING = {"status": "IN_PROGRESS", "request_id": ID, "logs": None}
HTML = b"<html><body>Sign in</body></html>"

seconds = st.floats(0, 60)


def dated(what: Answer, ahead: float) -> Answer:
    """`what`, written by a server whose clock is `ahead` seconds ahead of this one's."""
    return Answer(
        what.status,
        what.body,
        what.headers | {"date": formatdate(time.time() + ahead, usegmt=True)},
        end=what.end,
    )


@given(st.floats(1.6e9, 2e9), seconds, seconds, st.floats(0, 1), st.floats(-7200, 7200))
def test_the_bounds_contain_the_servers_own_time(
    server: float, there: float, back: float, stale: float, local_step: float
) -> None:
    """However long the ways, however old the Date within its second, and although this machine's clock is set
    meanwhile: the moment before the question, by the server's clock, lies within the bounds."""
    written = server + there
    date = formatdate(int(written - stale), usegmt=True)
    asked, answered = Stopwatch(100.0, 5.0), Stopwatch(100.0 + there + back, 5.0 + there + back + local_step)
    moment = asked_at(date, None, asked, answered)
    assert moment is not None
    assert moment.earliest <= server <= moment.latest


@given(st.lists(st.tuples(seconds, seconds, st.floats(0, 1), st.floats(0, 3600)), min_size=1, max_size=8))
def test_the_clock_never_loses_fals_time(exchanges: list[tuple[float, float, float, float]]) -> None:
    """After any number of answers at any distance, fal's time is within what the clock says."""
    clock, skew, awake = FalClock(), 720.0, 1000.0
    for there, back, stale, pause in exchanges:
        asked = Stopwatch(awake, awake + 1e9)
        date = formatdate(int(asked.wall + there + skew - stale), usegmt=True)
        awake += there + back
        answered = Stopwatch(awake, awake + 1e9)
        clock.hear(asked_at(date, None, asked, answered), asked, answered)
        awake += pause
    at, moment = clock._known or (None, None)
    assert at is not None
    assert moment is not None
    assert moment.earliest <= at.wall + skew <= moment.latest


@given(st.none() | st.text(max_size=40), st.none() | st.text(max_size=12))
def test_a_date_that_cannot_be_read_is_no_moment(date: str | None, age: str | None) -> None:
    """Any text at all as Date or Age gives a moment or none, and no error."""
    moment = asked_at(date, age, Stopwatch(0, 0), Stopwatch(1, 1))
    assert moment is None or moment.earliest <= moment.latest


@pytest.mark.parametrize(
    "date", ["Thu, 01 Jan 1970 00:00:00 GMT", "Wed, 99 Nov 2026 10:00:00 GMT", "now", ""]
)
async def test_an_absurd_date_sets_no_clock(client: FalClient, wire: Wire, date: str) -> None:
    """A Date that cannot be today's leaves the moment unknown, and the answer good."""
    wire.on(STATUS, answer(RUNNING, 202, date=date))
    status = await client.status(INGREDIENT, ID)
    assert status.heard is not None
    assert (status.heard.by, status.heard.asked_at, client.clock.now()) == ("fal", None, None)


@pytest.mark.parametrize("ahead", [0.0, 720.0, -86_400.0])
async def test_an_answer_says_when_it_was_asked_by_fals_clock(
    client: FalClient, wire: Wire, ahead: float
) -> None:
    """The moment is before the question, not after a slow answer, and on fal's clock, not on this machine's."""
    arrived: list[float] = []

    def slow(_: Seen) -> Answer:
        arrived.append(time.time())
        time.sleep(0.3)
        return dated(answer(RUNNING, 202), ahead)

    wire.on(STATUS, slow)
    before = time.time()
    status = await client.status(INGREDIENT, ID)
    assert status.heard is not None
    assert status.heard.asked_at is not None
    assert status.heard.asked_at.earliest <= arrived[0] + ahead
    assert status.heard.asked_at.latest >= before + ahead
    now, skew = client.clock.now(), client.clock.skew()
    assert now is not None
    assert skew is not None
    assert now.earliest <= time.time() + ahead <= now.latest
    assert abs(skew - ahead) < 30


async def test_only_fals_own_answers_set_the_clock(client: FalClient, wire: Wire) -> None:
    """A gateway's Date says nothing about fal's clock; it is still said who was heard."""
    wire.on(STATUS, dated(Answer(404, HTML), 5000))
    with pytest.raises(FalUnavailable) as caught:
        await client.status(INGREDIENT, ID)
    assert caught.value.heard is not None
    assert caught.value.heard.by == "between"
    assert client.clock.now() is client.clock.skew() is None
    wire.on(STATUS, dated(answer({"status": "NOT_FOUND"}, 404), 300))
    with pytest.raises(FalError) as caught:
        await client.status(INGREDIENT, ID)
    assert caught.value.heard is not None
    assert caught.value.heard.by == "fal"
    assert pickle.loads(pickle.dumps(caught.value)).heard == caught.value.heard
    assert client.clock.skew() == pytest.approx(300, abs=20)


async def test_where_nobody_answers_nobody_was_heard(client: FalClient, wire: Wire) -> None:
    """A broken connection is neither fal nor something between."""
    wire.on(STATUS, Answer(end="silent"))
    with pytest.raises(FalUnavailable) as caught:
        await client.status(INGREDIENT, ID)
    assert caught.value.heard is not None
    assert (caught.value.heard.by, caught.value.heard.asked_at) == ("nobody", None)


async def test_every_call_says_who_was_heard(client: FalClient, wire: Wire) -> None:
    """Status, result, listing and every error carry it, and none of it is in what is stored or shown."""
    video = {"video": {"url": "https://v3.fal.media/x.mp4"}, "seed": 1, "prompt": "p"}
    wire.on(STATUS, dated(answer(RUNNING, 202), 0))
    wire.on(ROOT, dated(answer(video), 0))
    wire.on(LISTING, dated(answer({"items": [], "next_cursor": None, "has_more": False}), 0))
    told = [
        await client.status(INGREDIENT, ID),
        await client.result(INGREDIENT, ID),
        await client.listing(INGREDIENT, start=datetime.now(UTC)),
    ]
    for one in told:
        assert one.heard is not None
        assert one.heard.by == "fal"
        assert one.heard.asked_at is not None
        assert "heard" not in one.model_dump()
        assert "heard" not in repr(one)


async def test_the_newest_of_two_contradicting_clocks_counts(client: FalClient, wire: Wire) -> None:
    """Where fal's clock is corrected, what was known before does not stay."""
    for ahead in (0.0, 5000.0):
        wire.on(STATUS, dated(answer(RUNNING, 202), ahead))
        await client.status(INGREDIENT, ID)
        assert client.clock.skew() == pytest.approx(ahead, abs=20)


def test_a_moment_is_two_numbers() -> None:
    """Bounds travel as plain values."""
    assert tuple(Moment(1.0, 2.0)) == (1.0, 2.0)


async def test_a_kept_answer_is_as_old_as_its_age(client: FalClient, wire: Wire) -> None:
    """What a cache has kept for ten minutes is evidence from then, and its question may be as late as now."""

    def kept(_: Seen) -> Answer:
        return answer(RUNNING, 202, date=formatdate(time.time() - 600, usegmt=True), age="600")

    wire.on(STATUS, kept)
    now = time.time()
    status = await client.status(INGREDIENT, ID)
    assert status.heard is not None
    assert status.heard.asked_at is not None
    assert status.heard.asked_at.earliest < now - 590
    assert status.heard.asked_at.latest > now - 5
