"""Finding a lost request in fal's listing: what is ours, what is not, and what cannot be told."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ledger_parts import ENDPOINT, Clock, a_plan, an_owner

from prefect_ltx.fal import ListedRequest
from prefect_ltx.ledger import Found, Generation, Ledger, ProvablyAbsent, ReplyLost, Undecidable, Wait, match
from prefect_ltx.ledger.life.reconcile import equal, is_match, submit_time

LAG = 600.0
SENT = 1_790_000_000.0
LOST = SENT + 30
AFTER = LOST + LAG + 1
BODY = dict(a_plan().body)


def uuid7(at: float, number: int = 1) -> str:
    return str(UUID(int=(int(at * 1000) << 80) | (7 << 76) | (0b10 << 62) | number))


def listed(
    at: float = SENT + 1,
    *,
    body: Any = BODY,
    number: int = 1,
    request_id: str | None = None,
    endpoint: str = ENDPOINT,
) -> ListedRequest:
    moment = datetime.fromtimestamp(at, UTC)
    return ListedRequest(
        request_id=request_id or uuid7(at, number),
        endpoint_id=endpoint,
        sent_at=moment,
        started_at=moment,
        json_input=body,
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Generation:
    """A row in UNKNOWN whose seed is ours: intended at SENT, its reply lost 30 s later."""
    clock = Clock(SENT)
    with Ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'l.db'}", clock=clock) as ledger:
        owner = an_owner()
        row = ledger.claim(a_plan(), owner).generation
        ledger.begin_post(row.id, owner)
        clock.now = LOST
        ledger.record(row.id, ReplyLost("reset", attempt=1), owner=owner)
        return ledger.get(row.id)


@pytest.fixture(scope="module")
def users(drawn: Generation) -> Generation:
    """The same with a seed that the user gave."""
    return replace(drawn, seed_drawn=False)


def look(
    items: list[ListedRequest], row: Generation, *, now: float = AFTER, proof: bool = True, **more: Any
) -> Any:
    return match(items, row, now=now, lag=LAG, absence_is_proof=proof, **more)


def test_our_request_is_found_at_once(drawn: Generation, users: Generation) -> None:
    """A match needs no waiting, whoever drew the seed."""
    item = listed()
    assert look([item], drawn, now=LOST) == Found(item.request_id, attempt=1)
    assert look([item], users, now=LOST) == Found(item.request_id, attempt=1)


def test_absence_is_proven_only_after_the_lag(drawn: Generation) -> None:
    """Before it, the answer is how long to wait."""
    assert look([], drawn, now=LOST) == Wait(LAG)
    assert look([], drawn, now=LOST + 100) == Wait(LAG - 100)
    assert look([], drawn) == ProvablyAbsent(attempt=1)
    assert look([], drawn, proof=False) == Undecidable(
        "absence unproven", "fal's listing does not show it 600 s after it was sent", attempt=1
    )


def test_without_a_lag_absence_is_proven_at_once(drawn: Generation) -> None:
    """A server whose listing is exact needs no patience."""
    assert match([], drawn, now=LOST, lag=0, absence_is_proof=True) == ProvablyAbsent(attempt=1)


@pytest.mark.parametrize(
    "stored",
    [
        {**BODY, "num_frames": 121.0},
        {**BODY, "a_default_of_fal": 3, "another": None},
        {name: BODY[name] for name in reversed(BODY)},
    ],
)
def test_what_fal_stored_may_be_written_differently(drawn: Generation, stored: dict[str, Any]) -> None:
    """Numbers by value, more keys, any order."""
    assert isinstance(look([listed(body=stored)], drawn), Found)


@pytest.mark.parametrize(
    "stored", [{**BODY, "seed": 8}, {**BODY, "prompt": "another"}, {}, {"seed": True}, {**BODY, "seed": "7"}]
)
def test_another_body_is_another_request(drawn: Generation, stored: dict[str, Any]) -> None:
    """A different seed or prompt is not ours and hinders no proof."""
    assert look([listed(body=stored)], drawn) == ProvablyAbsent(attempt=1)


@pytest.mark.parametrize(
    "stored", [{**BODY, "num_frames": 129}, {"seed": 7, "prompt": "a copper pan"}, None, "text"]
)
def test_what_could_be_ours_and_cannot_be_told_forbids_the_proof(
    drawn: Generation, users: Generation, stored: Any
) -> None:
    """No stored input, or our seed and prompt in another body: a person decides."""
    for row in (drawn, users):
        assert look([listed(body=stored)], row, now=LOST) == Wait(LAG)
        verdict = look([listed(body=stored)], row)
        assert isinstance(verdict, Undecidable)
        assert verdict.reason == "ambiguous"


def test_what_was_sent_at_another_time_hinders_no_proof(drawn: Generation) -> None:
    """An entry without a stored input from long before is not ours."""
    assert look([listed(SENT - 3600, body=None), listed(LOST + 3600, body=None)], drawn) == ProvablyAbsent(
        attempt=1
    )


def test_claimed_and_foreign_requests_do_not_count(drawn: Generation) -> None:
    """Another row's request, and another endpoint's, are neither matches nor doubts."""
    item = listed()
    assert look([item], drawn, claimed={item.request_id}) == ProvablyAbsent(attempt=1)
    assert look([listed(body=None)], drawn, claimed={listed().request_id}) == ProvablyAbsent(attempt=1)
    assert look([listed(endpoint="fal-ai/other")], drawn) == ProvablyAbsent(attempt=1)


def test_of_several_requests_with_our_seed_the_earliest_is_adopted(drawn: Generation) -> None:
    """The others are our double charges, whenever they were sent."""
    early, middle, late = listed(SENT - 86400), listed(SENT + 1, number=2), listed(LOST + 3600, number=3)
    assert look([late, early, middle, late], drawn) == Found(
        early.request_id, (middle.request_id, late.request_id), attempt=1
    )


def test_of_several_requests_with_the_users_seed_none_is_adopted(users: Generation) -> None:
    """One of them may be somebody else's."""
    verdict = look([listed(number=1), listed(number=2)], users)
    assert isinstance(verdict, Undecidable)
    assert verdict.reason == "ambiguous"


def test_the_users_seed_at_another_time_is_neither_ours_nor_nothing(users: Generation) -> None:
    """The very body outside the time of our POST is not adopted, and absence is not believed."""
    for at in (SENT - 3600, LOST + 3600):
        assert isinstance(look([listed(at)], users), Undecidable)
    inside = listed(number=2)
    assert look([listed(SENT - 3600), inside], users) == Found(inside.request_id, attempt=1)


def test_a_request_id_carries_its_time(users: Generation) -> None:
    """A UUIDv7 tells it to the millisecond; other ids go by the listing's time."""
    assert submit_time(listed(SENT + 0.123)) == pytest.approx(SENT + 0.123, abs=0.001)
    moved = listed(SENT - 3600, request_id=uuid7(SENT + 1))
    assert isinstance(look([moved], users), Found)
    other = listed(SENT + 1, request_id="not-a-uuid")
    assert submit_time(other) == SENT + 1
    assert isinstance(look([other], users), Found)


def test_pages_that_overlap_count_once(users: Generation) -> None:
    """The same request on two pages is one request, and its stored input is used if one page has it."""
    item = listed()
    bare = item.model_copy(update={"json_input": None})
    assert look([item, bare, item], users) == look([bare, item], users) == Found(item.request_id, attempt=1)


def test_the_second_attempt_waits_for_its_own_lag(drawn: Generation) -> None:
    """Time counts from the last POST that may have left."""
    later = datetime.fromtimestamp(SENT, UTC) + timedelta(hours=1)
    row = replace(drawn, attempt=2, posted_at=later, unknown_at=later + timedelta(seconds=10))
    assert look([], row, now=later.timestamp() + 10) == Wait(LAG)


def test_a_post_long_ago_needs_no_second_lag(drawn: Generation) -> None:
    """A row that is only now seen to be without an owner was sent long before, if at all."""
    row = replace(drawn, unknown_at=datetime.fromtimestamp(SENT + 86400, UTC))
    assert look([], row, now=SENT + 86400) == ProvablyAbsent(attempt=1)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_equality_is_json_equality(one: Any, other: Any) -> None:
    """Reflexive and symmetric; true is not 1; a null in an object is as good as missing."""
    assert equal(one, one)
    assert equal(one, other) == equal(other, one)
    if isinstance(one, dict):
        assert equal(one, {**one, "a new null": None})
        assert not equal(one, {**one, "a new key": 0})
    assert not equal(True, 1)
    assert not equal({"x": False}, {"x": 0})


@given(
    st.dictionaries(st.text(max_size=3), JSON, max_size=4),
    st.dictionaries(st.text(max_size=3), JSON, max_size=2),
)
def test_a_stored_input_with_more_keys_still_matches(body: dict[str, Any], more: dict[str, Any]) -> None:
    """Every key that was sent counts, and only those."""
    assert is_match(body, {**more, **body})
    for name, value in body.items():
        if value is not None:
            assert not is_match(body, {other: kept for other, kept in body.items() if other != name})


def test_large_seeds_survive_a_float() -> None:
    """Beyond 2^53 a JSON number may have passed through a float."""
    assert equal(2**53 + 1, float(2**53 + 1))
    assert not equal(2**53 - 1, 2**53 - 2)


@dataclass(frozen=True)
class Entry:
    """A request in a random listing: ours or a stranger's, shown or not yet."""

    at: float
    ours: bool
    body: str
    shown: bool
    claimed: bool


ENTRIES = st.lists(
    st.builds(
        Entry,
        at=st.floats(SENT - 4000, AFTER),
        ours=st.booleans(),
        body=st.sampled_from(["same", "same", "other", "bare", "alike"]),
        shown=st.booleans(),
        claimed=st.booleans(),
    ),
    max_size=5,
)
STORED = {"same": BODY, "other": {**BODY, "seed": 9}, "bare": None, "alike": {**BODY, "num_frames": 9}}


@given(
    entries=ENTRIES,
    is_drawn=st.booleans(),
    now=st.floats(LOST, AFTER + 100),
    proof=st.booleans(),
    data=st.data(),
)
def test_whatever_is_listed_a_request_of_ours_is_never_declared_absent(
    drawn: Generation, entries: list[Entry], is_drawn: bool, now: float, proof: bool, data: st.DataObject
) -> None:
    """Ours was sent in our time, and is shown after the lag: it is found, waited for, or left to a person.

    And nothing that is claimed, or has another body, is ever adopted.
    """
    row = replace(drawn, seed_drawn=is_drawn)
    ours = next((number for number, entry in enumerate(entries) if entry.ours), None)
    items, claimed = [], set()
    for number, entry in enumerate(entries):
        mine = number == ours
        at = min(max(entry.at, SENT), LOST) if mine else entry.at
        kind = ("same" if entry.body == "other" else entry.body) if mine else entry.body
        if is_drawn and not mine:
            assume(kind != "same" or entry.claimed)
        item = listed(at, body=STORED[kind], number=number)
        if entry.claimed and not mine:
            claimed.add(item.request_id)
        if entry.shown or now >= at + LAG:
            items.append(item)
        if mine:
            mine_item = item
    shuffled = data.draw(st.permutations(items))

    verdict = look(shuffled, row, now=now, proof=proof, claimed=claimed)

    assert verdict == look(items, row, now=now, proof=proof, claimed=claimed)
    if ours is not None:
        assert not isinstance(verdict, ProvablyAbsent)
    if not proof or now < LOST + LAG:
        assert not isinstance(verdict, ProvablyAbsent)
    if isinstance(verdict, Found):
        named = {verdict.request_id, *verdict.others}
        assert not named & claimed
        by_id = {item.request_id: item for item in items}
        assert all(is_match(row.body, by_id[name].json_input) for name in named)
        if is_drawn and ours is not None:
            assert verdict.request_id == mine_item.request_id
