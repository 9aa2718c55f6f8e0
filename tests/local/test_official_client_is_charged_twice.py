"""The harness has teeth: where a reply is lost, fal's own client pays again, and the bill shows it.

What our flows are held to (one POST, one charge) is only worth something if the same server charges a client that
repeats itself.
"""

import time
from typing import Any

import fal_client
import pytest
from local_fal_helpers import VIDEO
from official_client import pointed_at

from prefect_ltx.local import LocalFal


@pytest.mark.parametrize("fault", ["lost_reply", "accept_then_502", "accept_then_cut_body"])
def test_a_lost_reply_is_paid_for_again(
    fal: LocalFal, monkeypatch: pytest.MonkeyPatch, video_body: dict[str, Any], fault: str
) -> None:
    """Three lost replies: four POSTs of the same body, one handle, four charges."""
    fal.faults.add(fault, times=3)
    with pointed_at(fal.url, monkeypatch) as client:
        handle = client.submit(VIDEO, video_body)
        handle.get()
        _finish(fal, client)
    posts = [entry for entry in fal.log if entry[:2] == ("POST", f"/{VIDEO}")]
    charges = fal.bill.charges
    assert len(posts) == 4
    assert len(charges) > 1
    assert len(charges) == 4
    assert len({charge.body_sha for charge in charges}) == 1
    assert {charge.seed for charge in charges} == {7}


def test_a_client_timeout_is_paid_for_again(
    fal: LocalFal, monkeypatch: pytest.MonkeyPatch, video_body: dict[str, Any]
) -> None:
    """A reply that does not come in time is asked for with another POST."""
    fal.faults.add("accept_then_timeout")
    with pointed_at(fal.url, monkeypatch) as client:
        fal_client.SyncClient(key="me:secret", default_timeout=0.5).submit(VIDEO, video_body).get()
        _finish(fal, client)
    assert len(fal.bill) == 2


def test_a_lost_reply_of_run_is_paid_for_again(
    fal: LocalFal, monkeypatch: pytest.MonkeyPatch, video_body: dict[str, Any]
) -> None:
    """Synchronous run goes through the same retries."""
    fal.faults.add("lost_reply", path="/run/")
    with pointed_at(fal.url, monkeypatch) as client:
        client.run(VIDEO, video_body)
        _finish(fal, client)
    assert len(fal.bill) == 2


def _finish(fal: LocalFal, client: Any) -> None:
    """Wait for the requests that nobody has a handle of."""
    while True:
        requests = client._client.get(f"{fal.url}/_local/requests").json()["requests"]
        if all(request["state"] == "done" for request in requests):
            return
        time.sleep(0.02)
