"""Accounts: a key's id is one, unless it is told; and a server that comes back on another port is the same."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from local_fal_helpers import APP, Caller, Receiver

from prefect_ltx.local import LocalFal


def username(caller: Caller) -> str:
    name: str = caller.get("/v1/account/billing").raise_for_status().json()["username"]
    return name


def test_a_key_id_is_an_account_and_its_name_unless_told(fal: LocalFal, video_body: dict[str, Any]) -> None:
    """Two keys see nothing of each other: not by id, not in the listing, not on the bill."""
    with Caller(fal.url, "alice:one") as alice, Caller(fal.url, "bob:two") as bob:
        assert (username(alice), username(bob)) == ("alice", "bob")
        request_id = alice.submit(video_body)["request_id"]
        alice.until(request_id)
        for path in (f"/{APP}/requests/{request_id}", f"/{APP}/requests/{request_id}/status"):
            assert bob.get(path).json() == {"status": "NOT_FOUND"}
        assert bob.put(f"/{APP}/requests/{request_id}/cancel").status_code == 404
        assert bob.listed() == []
        assert bob.get("/v1/models/billing-events").json()["billing_events"] == []


def test_a_rotated_key_is_the_same_account(
    fal: LocalFal, video_body: dict[str, Any], receiver: Receiver
) -> None:
    """The new key sees what the old one asked for, under one name; webhooks name that account; the old key goes."""
    with Caller(fal.url, "first:one") as before, Caller(fal.url, "second:two") as after:
        request_id = before.submit(video_body)["request_id"]
        before.until(request_id)
        fal.accounts["second"] = "first"
        assert username(after) == "first"
        assert after.result(request_id).status_code == 200
        assert [item["request_id"] for item in after.listed()] == [request_id]
        after.submit(video_body, params={"fal_webhook": receiver.url})
        receiver.wait_for(1)
        assert receiver.taken[0][0]["X-Fal-Webhook-User-Id"] == "local|first"
        fal.accounts["first"] = None
        assert before.get(f"/{APP}/requests/{request_id}/status").status_code == 401
        assert before.get("/v1/account/billing").json()["error"]["type"] == "authorization_error"
        assert {charge.key_id for charge in fal.bill} == {"first"}


def test_accounts_are_told_over_http_too(fal: LocalFal, caller: Caller) -> None:
    """Every other key id is its own account; what is no name is refused."""
    told = {"k1": "alice", "k2": "alice", "gone": None}
    assert caller.put("/_local/accounts", json=told).json() == told
    assert caller.get("/_local/accounts").json() == told
    for key, name in (("k1:s", "alice"), ("k2:s", "alice"), ("k3:s", "k3")):
        with Caller(fal.url, key) as keyed:
            assert username(keyed) == name
    assert caller.put("/_local/accounts", json={"k1": 5}).status_code == 400
    assert fal.accounts == told


def test_an_account_may_not_say_its_name(fal: LocalFal) -> None:
    """billing_forbidden: a key without the ADMIN scope."""
    fal.faults.add("billing_forbidden")
    with Caller(fal.url, "alice:one") as alice:
        assert alice.get("/v1/account/billing").status_code == 403


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_restart_is_the_same_server_on_another_port(
    tmp_path: Path, video_body: dict[str, Any], clip_file: Path, with_folder: bool
) -> None:
    """Requests, files, bill, knobs and accounts go on; what was unfinished is taken up; the old port is closed."""
    folder = tmp_path / "fal" if with_folder else None
    with LocalFal(data=folder, renderer="stored-clip", accounts={"new": "me"}) as fal:
        fal.faults.add("listing_forbidden")
        fal.faults.add("concurrency", value=0)
        before, name = fal.url, fal.id
        with Caller(before, "me:one") as caller:
            upload = caller.post("/files/upload", content=clip_file.read_bytes()).json()["access_url"]
            request_id = caller.submit(video_body | {"video_url": upload})["request_id"]
        fal.restart()
        assert (fal.url != before, fal.id) == (True, name)
        with pytest.raises(httpx.ConnectError):
            httpx.get(before, trust_env=False)
        fal.faults.clear("concurrency")
        with Caller(fal.url, "new:two") as caller:
            caller.until(request_id)
            assert caller.result(request_id).status_code == 200
            assert caller.get("/v1/models/requests/search").status_code == 403
        port = int(before.rpartition(":")[2])
        assert fal.restart(port=port).url == before
        assert len(fal.bill) == 1
    assert len(fal.bill) == 1


def test_two_servers_are_two_services(video_body: dict[str, Any]) -> None:
    """Beside each other in one process, with nothing in common but the key."""
    with LocalFal(renderer="stored-clip") as one, LocalFal(renderer="stored-clip") as two:
        assert one.id != two.id
        with Caller(one.url, "me:s") as first, Caller(two.url, "me:s") as second:
            request_id = first.submit(video_body)["request_id"]
            first.until(request_id)
            assert second.result(request_id).status_code == 404
            assert second.listed() == []
        assert (len(one.bill), len(two.bill)) == (1, 0)
