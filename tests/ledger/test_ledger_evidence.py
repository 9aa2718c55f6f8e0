"""What a listing proves: what is ours, what cannot be told, and when it is absent. Every combination is tried."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from ledger_parts import ENDPOINT, Clock, a_plan, an_owner

from prefect_ltx.fal import Heard, ListedRequest, Listing, Moment
from prefect_ltx.ledger import Found, Generation, Ledger, ProvablyAbsent, ReplyLost, State, Undecidable
from prefect_ltx.ledger.life.diagram import evidence_page
from prefect_ltx.ledger.life.events import LookedAt
from prefect_ltx.ledger.life.evidence import Trust, Wait, about, verdict
from prefect_ltx.ledger.life.matching import equal, is_match, submit_time

LAG = 600.0
SENT = 1_790_000_000.0
LOST = SENT + 30
FIRST_LOOK = LOST + 2
TRUST = Trust(lag=LAG, lists_unfinished=True, absence_is_proof=True)
AFTER = FIRST_LOOK + TRUST.patience + 3
BODY = dict(a_plan().body)
HERE = {"account": "account-1", "service": "fal.ai"}


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
    """A row in UNKNOWN whose seed is ours: sent at SENT, its reply lost 30 s later, looked for once."""
    clock = Clock(SENT)
    with Ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'l.db'}", clock=clock) as ledger:
        ledger.acting_for("account-1", "fal.ai")
        owner = an_owner()
        row = ledger.claim(a_plan(), owner).generation
        ledger.begin_post(row.id, owner, since=SENT)
        clock.now = LOST
        ledger.record(row.id, ReplyLost("reset", attempt=1), owner=owner)
        ledger.record(row.id, LookedAt(FIRST_LOOK, attempt=1), owner=owner)
        return ledger.get(row.id)


@pytest.fixture(scope="module")
def users(drawn: Generation) -> Generation:
    """The same with a seed that the user gave."""
    return replace(drawn, seed_drawn=False)


def heard(now: float | None = AFTER, by: Any = "fal") -> Heard:
    return Heard(by, None if now is None else Moment(now - 1, now + 1))


def look(
    items: list[ListedRequest],
    row: Generation,
    *,
    now: float | None = AFTER,
    complete: bool = True,
    unreadable: tuple[str, ...] = (),
    trust: Trust = TRUST,
    **more: Any,
) -> Any:
    listing = Listing(items=items, heard=heard(now), complete=complete, unreadable=list(unreadable))
    return verdict(row, about(row, **HERE), listing, trust, **more)


def is_absent(answer: object) -> bool:
    return isinstance(answer, ProvablyAbsent)


def test_our_request_is_found_at_once(drawn: Generation, users: Generation) -> None:
    """A match needs no waiting, whoever drew the seed, and no clock."""
    item = listed()
    for row in (drawn, users, replace(drawn, first_look_at=None, fal_since=None)):
        assert look([item], row, now=LOST) == Found(item.request_id, attempt=1)
        assert look([item], row, now=None) == Found(item.request_id, attempt=1)


def test_the_wait_for_the_listing_begins_with_the_first_look(drawn: Generation) -> None:
    """The first look is written down, by fal's clock; the second proves something once the lag has passed since."""
    fresh = replace(drawn, first_look_at=None)
    assert look([], fresh, now=FIRST_LOOK) == LookedAt(FIRST_LOOK + 1, attempt=1)
    waiting = look([], drawn, now=FIRST_LOOK + 101)
    assert isinstance(waiting, Wait)
    assert waiting.seconds == pytest.approx(TRUST.patience - 100)
    assert look([], drawn) == ProvablyAbsent(attempt=1)


def test_a_listing_that_took_long_is_as_old_as_its_question(drawn: Generation) -> None:
    """What counts is the moment before the question, never the time at which the answer was read."""
    asked = Moment(FIRST_LOOK + 1, FIRST_LOOK + LAG * 3)
    listing = Listing(items=[], heard=Heard("fal", asked), complete=True)
    assert isinstance(verdict(drawn, about(drawn, **HERE), listing, TRUST), Wait)


def test_without_a_clock_of_fal_s_nothing_is_absent(drawn: Generation) -> None:
    """It is looked for as long as the caller waits, then a person decides."""
    assert isinstance(look([], drawn, now=None, waited=10), Wait)
    for row, now in ((drawn, None), (replace(drawn, fal_since=None), AFTER)):
        answer = look([], row, now=now)
        assert isinstance(answer, Undecidable)
        assert answer.reason == "clock unknown"


def test_a_server_whose_listing_is_exact_is_believed_within_seconds(drawn: Generation) -> None:
    """Only what the clock's whole seconds leave open is waited for."""
    exact = replace(TRUST, lag=0.0)
    assert isinstance(look([], drawn, now=FIRST_LOOK + 1, trust=exact), Wait)
    assert is_absent(look([], drawn, now=FIRST_LOOK + 3, trust=exact))


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
    assert is_absent(look([listed(body=stored)], drawn))


@pytest.mark.parametrize(
    "stored", [{**BODY, "num_frames": 129}, {"seed": 7, "prompt": "a copper pan"}, None, "text"]
)
def test_what_could_be_ours_and_cannot_be_told_forbids_the_proof(
    drawn: Generation, users: Generation, stored: Any
) -> None:
    """No stored input, or our seed and prompt in another body: a person decides."""
    for row in (drawn, users):
        assert isinstance(look([listed(body=stored)], row, now=FIRST_LOOK + 1), Wait)
        answer = look([listed(body=stored)], row)
        assert isinstance(answer, Undecidable)
        assert answer.reason == "ambiguous"


@pytest.mark.parametrize(
    "spelling",
    [
        "fal-ai/ltx-2.3-quality",
        "FAL-AI/ltx-2.3-quality/ingredient",
        f"{ENDPOINT}/",
        "ltx-2.3-quality/ingredient",
    ],
)
def test_our_body_under_another_spelling_of_the_endpoint_is_doubt(drawn: Generation, spelling: str) -> None:
    """Neither ours nor absent: fal may name one endpoint in several ways."""
    answer = look([listed(endpoint=spelling)], drawn)
    assert isinstance(answer, Undecidable)
    assert spelling in answer.detail


def test_a_bare_entry_of_the_same_app_is_doubt_and_of_another_one_is_not(drawn: Generation) -> None:
    """Without its input it could be ours wherever the ids of one app are shared."""
    assert isinstance(look([listed(endpoint="fal-ai/ltx-2.3-quality", body=None)], drawn), Undecidable)
    assert is_absent(look([listed(endpoint="fal-ai/another", body=None)], drawn))


def test_what_was_sent_at_another_time_hinders_no_proof(drawn: Generation) -> None:
    """An entry without a stored input from long before is not ours."""
    assert is_absent(look([listed(SENT - 3600, body=None), listed(LOST + 3600, body=None)], drawn))


def test_claimed_requests_do_not_count(drawn: Generation) -> None:
    """Another row's request is neither a match nor a doubt."""
    item = listed()
    assert is_absent(look([item], drawn, claimed={item.request_id}))
    assert is_absent(look([listed(body=None)], drawn, claimed={listed().request_id}))


def test_of_several_requests_with_our_seed_the_earliest_is_adopted(drawn: Generation) -> None:
    """The others are our double charges, whenever they were sent."""
    early, middle, late = listed(SENT - 86400), listed(SENT + 1, number=2), listed(LOST + 3600, number=3)
    assert look([late, early, middle, late], drawn) == Found(
        early.request_id, (middle.request_id, late.request_id), attempt=1
    )


def test_of_several_requests_with_the_users_seed_none_is_adopted(users: Generation) -> None:
    """One of them may be somebody else's; and where not all is listed, the one that is may not be the only one."""
    answer = look([listed(number=1), listed(number=2)], users)
    assert isinstance(answer, Undecidable)
    assert answer.reason == "ambiguous"
    assert isinstance(look([listed()], users, complete=False), Undecidable)
    assert isinstance(look([listed()], users, unreadable=("x",)), Undecidable)


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
    answers = [look(items, users) for items in ([item, bare, item], [bare, item])]
    assert answers == [Found(item.request_id, attempt=1)] * 2


def test_a_parked_row_is_only_ever_found(drawn: Generation) -> None:
    """What a person is to decide is never sent again because of a look."""
    parked = replace(drawn, state=State.PARKED)
    assert isinstance(look([listed()], parked), Found)
    assert isinstance(look([], parked), Undecidable)


class Asked(NamedTuple):
    """One way in which a listing may have been asked for and answered."""

    by: Literal["fal", "between", "nobody"]
    account: str
    service: str
    attempt: int
    state: State


class Known(NamedTuple):
    """What is known beside it."""

    complete: bool
    readable: bool
    since: bool
    early: bool
    first_look: bool
    clock: bool
    lag_over: bool
    lists_unfinished: bool
    proof: bool


RIGHT = Asked("fal", "account-1", "fal.ai", 1, State.UNKNOWN)
ALL_KNOWN = Known(*[True] * len(Known._fields))
ENTRIES: dict[str, list[ListedRequest]] = {
    "none": [],
    "a stranger's": [listed(body={**BODY, "seed": 8})],
    "bare": [listed(body=None)],
    "alike": [listed(body={**BODY, "num_frames": 9})],
    "another spelling": [listed(endpoint="fal-ai/ltx-2.3-quality")],
    "ours": [listed()],
}


def judged(drawn: Generation, asked: Asked, known: Known, entries: str) -> Any:
    row = replace(
        drawn,
        fal_since=SENT if known.since else None,
        first_look_at=FIRST_LOOK if known.first_look else None,
    )
    question = replace(
        about(
            replace(row, attempt=asked.attempt, state=asked.state),
            account=asked.account,
            service=asked.service,
        ),
        since=SENT - 7200 if known.early else SENT - 60,
    )
    at = heard((AFTER if known.lag_over else FIRST_LOOK + 5) if known.clock else None, asked.by)
    listing = Listing(
        items=ENTRIES[entries],
        heard=at,
        complete=known.complete,
        unreadable=[] if known.readable else ["x"],
    )
    trust = Trust(lag=LAG, lists_unfinished=known.lists_unfinished, absence_is_proof=known.proof)
    return verdict(row, question, listing, trust)


def all_known() -> Iterator[Known]:
    return (Known(*values) for values in product([True, False], repeat=len(Known._fields)))


def test_absence_needs_every_condition_and_no_more(drawn: Generation) -> None:
    """Over all combinations: absent exactly where all of them hold and nothing listed could be ours."""
    for known in all_known():
        for entries in ENTRIES:
            answer = judged(drawn, RIGHT, known, entries)
            proven = known == ALL_KNOWN and entries in ("none", "a stranger's")
            assert is_absent(answer) == proven, (known, entries, answer)
            assert isinstance(answer, Found) == (entries == "ours"), (known, entries, answer)


def test_no_verdict_comes_from_another_account_service_attempt_or_from_something_between(
    drawn: Generation,
) -> None:
    """Over all combinations: what was not asked rightly, or not answered by fal, is only asked again."""
    ways = product(
        ["fal", "between", "nobody"],
        ["account-1", "account-2"],
        ["fal.ai", "embedded:1", "custom:proxy:443"],
        [1, 2],
        [State.UNKNOWN, State.INTENDED],
    )
    for values in ways:
        asked = Asked(*values)  # type: ignore[arg-type]
        if asked == RIGHT:
            continue
        for known in (ALL_KNOWN, ALL_KNOWN._replace(first_look=False), ALL_KNOWN._replace(clock=False)):
            for entries in ENTRIES:
                assert isinstance(judged(drawn, asked, known, entries), Wait), (asked, known, entries)


def test_a_row_of_an_older_ledger_goes_by_its_account_alone(drawn: Generation) -> None:
    """It names no service, so its account has to do; without fal's clock it is found or parked, never absent."""
    old = replace(drawn, service="", fal_since=None, first_look_at=None)
    assert isinstance(look([listed()], old), Found)
    assert isinstance(look([], old), LookedAt)
    assert isinstance(look([], replace(old, first_look_at=FIRST_LOOK)), Undecidable)


def test_the_page_in_docs_is_made_from_the_tables() -> None:
    """docs/evidence.md: `python -m prefect_ltx.ledger.life.diagram docs`."""
    assert (Path(__file__).parents[2] / "docs" / "evidence.md").read_text() == evidence_page()


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


MANY = st.lists(
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
    entries=MANY,
    is_drawn=st.booleans(),
    now=st.floats(FIRST_LOOK, AFTER + 100),
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
    trust = replace(TRUST, absence_is_proof=proof)

    answer = look(shuffled, row, now=now, trust=trust, claimed=claimed)

    assert answer == look(items, row, now=now, trust=trust, claimed=claimed) or isinstance(
        answer, Undecidable
    )
    if ours is not None or not proof or now < FIRST_LOOK + LAG:
        assert not is_absent(answer)
    if isinstance(answer, Found):
        named = {answer.request_id, *answer.others}
        assert not named & claimed
        by_id = {item.request_id: item for item in items}
        assert all(is_match(row.body, by_id[name].json_input) for name in named)
        if is_drawn and ours is not None:
            assert answer.request_id == mine_item.request_id
