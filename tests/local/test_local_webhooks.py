"""Webhooks: signed as fal signs them, repeated until taken, and wrong on demand."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local_fal_helpers import VIDEO, Caller, Receiver

from prefect_ltx.fal import verify_webhook
from prefect_ltx.local import LocalFal


def submit(caller: Caller, body: dict[str, Any], receiver: Receiver) -> str:
    reply = caller.post(f"/{VIDEO}?fal_webhook={quote(receiver.url + '?nonce=n', safe='')}", json=body)
    request_id: str = reply.json()["request_id"]
    return request_id


def delivered(caller: Caller, request_id: str) -> bool:
    requests = caller.get("/_local/requests").json()["requests"]
    done = {request["request_id"]: request["webhook_done"] for request in requests}
    return bool(done[request_id])


def test_a_webhook_is_signed_and_carries_the_output(
    caller: Caller, receiver: Receiver, video_body: dict[str, Any]
) -> None:
    """The signature verifies against the published key, over the raw body."""
    request_id = submit(caller, video_body, receiver)
    (payload,) = receiver.wait_for(1)
    headers, body = receiver.taken[0]
    jwks = caller.get("/.well-known/jwks.json").json()
    verified = verify_webhook(headers, body, jwks, user_id="local|anonymous")
    assert verified.request_id == request_id
    assert (payload["status"], payload["request_id"]) == ("OK", request_id)
    assert payload["gateway_request_id"] != request_id
    assert payload["payload"] == caller.result(request_id).json()


def test_a_failure_is_told_with_its_error_body(caller: Caller, receiver: Receiver) -> None:
    """status ERROR, the text of the status code, and the model's detail."""
    submit(caller, {"prompt": "x"}, receiver)
    (payload,) = receiver.wait_for(1)
    assert (payload["status"], payload["error"]) == ("ERROR", "Invalid status code: 422")
    assert payload["payload"]["detail"][0]["loc"] == ["body", "video_url"]


def test_a_webhook_is_repeated_until_it_is_taken(
    caller: Caller, receiver: Receiver, video_body: dict[str, Any]
) -> None:
    """4xx and 5xx are tried again; each try is signed anew."""
    receiver.answers = [500, 404]
    submit(caller, video_body, receiver)
    payloads = receiver.wait_for(3)
    assert payloads[0] == payloads[1] == payloads[2]


def test_a_redirect_is_a_failure_for_good(
    caller: Caller, receiver: Receiver, video_body: dict[str, Any]
) -> None:
    """3xx is not followed and not tried again."""
    receiver.answers = [302]
    request_id = submit(caller, video_body, receiver)
    receiver.wait_for(1)
    while not delivered(caller, request_id):
        time.sleep(0.02)
    assert len(receiver.taken) == 1


def test_webhooks_are_duplicated_reordered_and_lost_on_demand(
    fal: LocalFal, caller: Caller, receiver: Receiver, video_body: dict[str, Any]
) -> None:
    """At least once, in no order, not guaranteed."""
    fal.faults.add("duplicate_webhooks")
    twice = submit(caller, video_body, receiver)
    assert [payload["request_id"] for payload in receiver.wait_for(2)] == [twice, twice]
    receiver.taken.clear()
    fal.faults.add("reordered_webhooks", value=20)
    held = submit(caller, video_body, receiver)
    caller.until(held)
    while not fal.faults.fired("reordered_webhooks"):
        time.sleep(0.01)
    overtaking = submit(caller, video_body, receiver)
    assert [payload["request_id"] for payload in receiver.wait_for(2)] == [overtaking, held]
    receiver.taken.clear()
    fal.faults.add("lost_webhooks")
    lost = submit(caller, video_body, receiver)
    while not delivered(caller, lost):
        time.sleep(0.02)
    assert receiver.taken == []


def test_a_payload_that_cannot_be_sent_is_null_with_the_reason(
    fal: LocalFal, caller: Caller, receiver: Receiver, video_body: dict[str, Any]
) -> None:
    """payload_error, by the fault and for a clip that is inside the answer."""
    fal.faults.add("webhook_payload_error")
    submit(caller, video_body, receiver)
    submit(caller, video_body | {"sync_mode": True}, receiver)
    for payload in receiver.wait_for(2):
        assert payload["payload"] is None
        assert payload["payload_error"]


def test_a_restart_keeps_the_key_and_delivers_what_is_owed(
    tmp_path: Path, receiver: Receiver, video_body: dict[str, Any]
) -> None:
    """The key pair is in the data folder, and so is the memory of what was not delivered."""
    receiver.answers = [503]
    with LocalFal(renderer="stored-clip", data=tmp_path) as fal, Caller(fal.url) as caller:
        before = caller.get("/.well-known/jwks.json").json()
        request_id = submit(caller, video_body, receiver)
        receiver.wait_for(1)
    receiver.taken.clear()
    with LocalFal(renderer="stored-clip", data=tmp_path) as fal, Caller(fal.url) as caller:
        assert caller.get("/.well-known/jwks.json").json() == before
        assert receiver.wait_for(1)[0]["request_id"] == request_id
    assert (tmp_path / "webhook-ed25519.pem").stat().st_mode & 0o777 == 0o600
