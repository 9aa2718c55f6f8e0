"""Which service a client talks to, and for whom: believed only from the server itself, at the port that was called."""

import pytest
from fal_wire import Answer, Wire, answer

from prefect_ltx.fal import FalClient, FalHosts, FalRateLimited, FalUnavailable
from prefect_ltx.local import LocalFal

WHO = "/.well-known/prefect-ltx-local-fal"
BILLING = "/v1/account/billing"


def who(wire: Wire, **changes: object) -> Answer:
    said = {
        "prefect_ltx_local_fal": "a1b2",
        "port": wire.port,
        "listing_lag_seconds": 1.5,
        "lists_unfinished": True,
    }
    return answer(said | changes)


async def test_the_embedded_server_is_known_by_its_own_word(client: FalClient, wire: Wire) -> None:
    """Its id, its lag and whether it lists what has not finished; asked once, without the key."""
    wire.on(WHO, who(wire))
    for _ in range(2):
        service = await client.identify()
        assert (service.kind, service.id) == ("embedded", "embedded:a1b2")
        assert (service.listing_lag, service.lists_unfinished) == (1.5, True)
    assert len(wire.seen) == 1
    assert "authorization" not in wire.seen[0].headers


async def test_a_real_embedded_server_identifies_itself() -> None:
    """The embedded fal answers the question as the client asks it."""
    with LocalFal() as local:
        async with FalClient("a:b", base_url=local.url) as client:
            service = await client.identify()
    assert service.kind == "embedded"


async def test_fal_itself_is_not_asked(key: str) -> None:
    """The real hosts need no question."""
    async with FalClient(key) as client:
        assert (await client.identify()).id == "fal.ai"
    async with FalClient(key, hosts=FalHosts.default()) as client:
        assert (await client.identify()).kind == "fal"


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 1},
        {"port": "same"},
        {"port": None},
        {"port": True},
        {"prefect_ltx_local_fal": ""},
        {"prefect_ltx_local_fal": 5},
        {"prefect_ltx_local_fal": "a b"},
        {"prefect_ltx_local_fal": "x" * 65},
        {"prefect_ltx_local_fal": None},
    ],
)
async def test_what_does_not_hold_together_is_a_custom_url(
    client: FalClient, wire: Wire, changes: dict[str, object]
) -> None:
    """A proxy in front of an embedded server passes on another port than the one that was called."""
    wire.on(WHO, who(wire, **changes))
    service = await client.identify()
    assert (service.kind, service.id) == ("custom", f"custom:127.0.0.1:{wire.port}")
    assert (service.listing_lag, service.lists_unfinished) == (None, None)


@pytest.mark.parametrize(
    "what",
    [
        Answer(404, b"<html/>"),
        Answer(200, b"<html/>"),
        Answer(401, b""),
        Answer(302, b"", {"location": "/login"}),
        answer({"detail": "Not Found"}, 404),
        answer([]),
        answer("x"),
    ],
)
async def test_every_other_server_is_a_custom_url(client: FalClient, wire: Wire, what: Answer) -> None:
    """Nothing is believed of a server that does not know the question."""
    wire.on(WHO, what)
    assert (await client.identify()).kind == "custom"


@pytest.mark.parametrize("values", [(-1, "yes"), (float("nan"), 1), (10**9, None), ("5", []), (True, "")])
async def test_odd_words_about_the_listing_are_none(
    client: FalClient, wire: Wire, values: tuple[object, object]
) -> None:
    """What the server says of its listing counts only where it is a plain number and a plain yes or no."""
    wire.on(WHO, who(wire, listing_lag_seconds=values[0], lists_unfinished=values[1]))
    service = await client.identify()
    assert (service.kind, service.listing_lag, service.lists_unfinished) == ("embedded", None, None)


async def test_a_page_now_and_then_does_not_change_the_service(client: FalClient, wire: Wire) -> None:
    """One answer from in between must not make the same server another one, whose rows are others'."""
    wire.on(WHO, Answer(404, b"<html/>"), Answer(503, b""), who(wire))
    assert (await client.identify()).kind == "embedded"


@pytest.mark.parametrize("status", [400, 401, 404, 409])
async def test_an_error_in_json_does_not_change_the_service(
    client: FalClient, wire: Wire, status: int
) -> None:
    """A gateway's refusal of one question says nothing of who is behind it."""
    wire.on(WHO, answer({"message": "no Route matched with those values"}, status), who(wire))
    assert (await client.identify()).kind == "embedded"


async def test_a_server_that_does_not_answer_is_not_guessed(client: FalClient, wire: Wire) -> None:
    """Which service it is decides which rows are asked about, so silence is an error, and asked again later."""
    wire.on(WHO, Answer(end="silent"))
    with pytest.raises(FalUnavailable):
        await client.identify()
    wire.on(WHO, who(wire))
    assert (await client.identify()).kind == "embedded"


async def test_the_account_is_named_where_the_key_may_ask(client: FalClient, wire: Wire, key: str) -> None:
    """The Platform API's user name; None for a plain key."""
    wire.on(BILLING, answer({"username": "my-team"}))
    assert await client.whoami() == "my-team"
    assert wire.seen[0].headers["authorization"] == f"Key {key}"
    for refused in (
        answer({"error": {"type": "authorization_error", "message": "admin only"}}, 403),
        answer({"error": {"type": "authorization_error", "message": "who?"}}, 401),
        answer({"error": {"type": "not_found", "message": "no"}}, 404),
    ):
        wire.on(BILLING, refused)
        assert await client.whoami() is None


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (Answer(403, b"<html/>"), FalUnavailable),
        (answer({"detail": "Not Found"}, 404), FalUnavailable),
        (answer({"username": 5}), FalUnavailable),
        (answer({"error": {"type": "rate_limited", "message": "slow"}}, 429), FalRateLimited),
        (Answer(end="silent"), FalUnavailable),
    ],
)
async def test_an_account_is_never_unnamed_by_accident(
    client: FalClient, wire: Wire, what: Answer, kind: type[Exception]
) -> None:
    """A gateway, a busy or a silent server is not a key that may not ask."""
    wire.on(BILLING, what)
    with pytest.raises(kind):
        await client.whoami()


@pytest.mark.parametrize(
    ("base", "account"),
    [
        (None, "218b435b24cafcdd"),
        ("http://127.0.0.1:8765", "1638413f1aa26fa1"),
        ("http://127.0.0.1:9999", "1638413f1aa26fa1"),
    ],
)
def test_an_account_of_an_old_ledger_is_found_again(key: str, base: str | None, account: str) -> None:
    """The fingerprint of host and key id is what rows of version 1 carry: it does not change, nor with the port of
    a loopback server."""
    assert FalClient(key, base_url=base).account == account
