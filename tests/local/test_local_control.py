"""Faults: where they come from, what their filters do, and how another process reaches them."""

import json
from pathlib import Path
from typing import Any

import pytest
from local_fal_helpers import INGREDIENT, VIDEO, Caller

from prefect_ltx.local import KNOWN, Fault, Faults, LocalFal


def test_a_fault_acts_as_often_as_it_was_told() -> None:
    """times counts down; -1 never does; without it the table's own number holds."""
    faults = Faults()
    faults.add("lost_reply", times=2)
    assert [faults.take("lost_reply") is not None for _ in range(4)] == [True, True, False, False]
    faults.add("snap")
    assert all(faults.take("snap") for _ in range(10))
    assert (faults.fired("lost_reply"), faults.fired("snap"), faults.fired("stuck_queue")) == (2, 10, 0)


def test_filters_let_through_what_they_name() -> None:
    """By a part of the endpoint's id or of the path."""
    faults = Faults()
    faults.add("lost_reply", times=-1, endpoint="ingredient")
    faults.add("expired_file", times=-1, path="/b/abc")
    assert faults.take("lost_reply", endpoint=INGREDIENT)
    assert faults.take("lost_reply", endpoint=VIDEO) is None
    assert faults.take("expired_file", path="/files/b/abc/x.mp4")
    assert faults.take("expired_file", path="/files/b/xyz/x.mp4") is None


def test_faults_of_one_name_act_one_after_another() -> None:
    """The second takes over when the first is used up."""
    faults = Faults()
    faults.add("status_5xx", value=500)
    faults.add("status_5xx", times=2, value=503)
    assert [fault.value for _ in range(4) if (fault := faults.take("status_5xx"))] == [500, 503, 503]


def test_chance_is_a_share_of_the_occasions() -> None:
    """And the same share every time: the dice start anew with every server."""
    drawn = []
    for _ in range(2):
        faults = Faults({"lost_reply": {"times": -1, "chance": 0.3}})
        drawn.append([faults.take("lost_reply") is not None for _ in range(200)])
    assert drawn[0] == drawn[1]
    assert 30 < sum(drawn[0]) < 90


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"lost_reply": 3}, [Fault(name="lost_reply", times=3)]),
        ({"lost_reply": True}, [Fault(name="lost_reply", times=1)]),
        ({"lost_reply": False}, []),
        ({"listing_lag_seconds": 2.5}, [Fault(name="listing_lag_seconds", times=-1, value=2.5)]),
        ({"slow_run": {"value": 9}}, [Fault(name="slow_run", times=1, value=9)]),
        ({"snap": {"endpoint": "x"}}, [Fault(name="snap", times=-1, endpoint="x")]),
    ],
)
def test_a_faults_file_is_read(tmp_path: Path, given: dict[str, Any], expected: list[Fault]) -> None:
    """A bare number is how often, or a knob's setting; an object says all of it."""
    path = tmp_path / "faults.json"
    path.write_text(json.dumps(given))
    assert list(Faults.load(path)) == expected


def test_a_faults_file_may_be_yaml(tmp_path: Path) -> None:
    """The same object, told by its suffix."""
    path = tmp_path / "faults.yaml"
    path.write_text("lost_reply: 2\nslow_run: {value: 3}\n")
    assert [(fault.name, fault.times, fault.value) for fault in Faults.load(path)] == [
        ("lost_reply", 2, None),
        ("slow_run", 1, 3),
    ]
    path.write_text("a: [")
    with pytest.raises(ValueError, match="not YAML"):
        Faults.load(path)


@pytest.mark.parametrize(
    "given", ['{"lost_replies": 1}', '["snap"]', '{"snap": "yes"}', '{"snap": {"time": 1}}', "{"]
)
def test_a_faults_file_with_a_mistake_is_refused(tmp_path: Path, given: str) -> None:
    """A name that does not exist would be a test that tests nothing."""
    path = tmp_path / "faults.json"
    path.write_text(given)
    with pytest.raises(ValueError):
        Faults.load(path)


def test_every_fault_has_a_sentence() -> None:
    """One table that names them all."""
    assert all(kind.sentence.endswith(".") and len(kind.sentence) > 20 for kind in KNOWN.values())


def test_another_process_sets_faults_over_http(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """Add, replace, clear; what is on, what has acted, what there is."""
    shown = caller.post("/_local/faults", json={"name": "status_5xx", "times": 2, "value": 500}).json()
    assert shown["active"] == [{"name": "status_5xx", "times": 2, "value": 500, "chance": 1}]
    assert set(shown["known"]) == set(KNOWN)
    request_id = caller.submit(video_body)["request_id"]
    path = f"/{VIDEO}/requests/{request_id}/status"
    assert [caller.get(path).status_code for _ in range(2)] == [500, 500]
    assert caller.get("/_local/faults").json()["fired"] == {"status_5xx": 2}
    assert caller.put("/_local/faults", json={"snap": True}).json()["active"][0]["name"] == "snap"
    assert fal.faults.is_on("snap")
    assert caller.http.delete("/_local/faults").json()["active"] == []
    assert caller.post("/_local/faults", json={"name": "nonsense"}).status_code == 400
    assert caller.post("/_local/faults", json={"name": "snap", "colour": 1}).status_code == 400
    assert caller.put("/_local/faults", json={"nonsense": 1}).status_code == 400


def test_the_log_counts_what_was_on_the_wire(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """In process and over HTTP, without query strings; what asks for the log is not in it."""
    caller.submit(video_body)
    caller.get("/v1/meta?secret=1")
    assert fal.log == [("POST", f"/{VIDEO}", 200), ("GET", "/v1/meta", 200)]
    posts = caller.get("/_local/log", params={"method": "POST", "path": VIDEO}).json()
    assert (posts["count"], posts["entries"]) == (1, [["POST", f"/{VIDEO}", 200]])
    caller.http.delete("/_local/log")
    assert caller.get("/_local/log").json()["count"] == 0


def test_the_bill_is_told_over_http(fal: LocalFal, caller: Caller, video_body: dict[str, Any]) -> None:
    """As decimal text, so that nothing is lost on the way."""
    caller.generate(video_body)
    bill = caller.get("/_local/bill").json()
    assert (bill["count"], bill["total_usd"]) == (1, str(fal.bill.total_usd))
    assert bill["charges"][0]["request_id"] == fal.bill.charges[0].request_id
    assert bill["charges"][0]["seed"] == 7


def test_pages_of_other_sites_have_no_control(caller: Caller) -> None:
    """fal's routes are open to every origin; these answer nobody who sends a foreign one."""
    assert caller.get("/_local/bill", headers={"origin": "https://example.org"}).status_code == 403
    assert caller.post("/_local/faults", json={}, headers={"origin": "null"}).status_code == 403
    assert caller.get("/_local/bill", headers={"origin": caller.url}).status_code == 200
