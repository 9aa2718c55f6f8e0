"""Keys: any well-formed one, none, or the one the server was given."""

from typing import Any

import pytest
from local_fal_helpers import APP, VIDEO, Caller

from prefect_ltx.local import LocalFal

UNKNOWN = f"/{APP}/requests/01a083d0-1d3c-7000-8000-000000000000/status"


def test_any_well_formed_key_and_no_key_are_taken(caller: Caller) -> None:
    """A laptop has none."""
    assert caller.get(UNKNOWN).status_code == 404
    assert caller.get(UNKNOWN, headers={"authorization": "Key any:thing"}).status_code == 404


@pytest.mark.parametrize("value", ["Key abc", "Key :b", "Key a:", "Key  a:b", "Basic a:b", "a:b", "Key"])
def test_a_malformed_key_is_refused(caller: Caller, video_body: dict[str, Any], value: str) -> None:
    """401 at submit and on reads, and on the Platform API in its own shape."""
    headers = {"authorization": value}
    assert caller.post(f"/{VIDEO}", json=video_body, headers=headers).status_code == 401
    assert caller.get(UNKNOWN, headers=headers).status_code == 401
    reply = caller.get("/v1/models", headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authorization_error")
    assert caller.listed() == []


def test_a_server_with_a_key_takes_only_that_one(video_body: dict[str, Any]) -> None:
    """Everything but files, keys of webhooks and meta asks for it."""
    with LocalFal(renderer="stored-clip", key="me:secret") as fal:
        with Caller(fal.url, "me:other") as wrong, Caller(fal.url) as nobody:
            for caller in (wrong, nobody):
                for path in (UNKNOWN, "/v1/models", f"/v1/models/requests/by-endpoint?endpoint_id={VIDEO}"):
                    assert caller.get(path).status_code == 401
                assert caller.post(f"/{VIDEO}", json=video_body).status_code == 401
                assert caller.post(f"/run/{VIDEO}", json=video_body).status_code == 401
                assert caller.post("/storage/auth/token", json={}).status_code == 401
                assert caller.post("/storage/upload/initiate", json={}).status_code == 401
                assert caller.post("/files/upload", content=b"x").status_code == 401
        with Caller(fal.url, "me:secret") as me, Caller(fal.url) as nobody:
            result = me.generate(video_body)
            assert nobody.get(result.json()["video"]["url"]).status_code == 200
            assert nobody.get("/v1/meta").status_code == 200
            assert nobody.get("/.well-known/jwks.json").status_code == 200


def test_a_token_is_good_for_what_it_was_made_for(caller: Caller) -> None:
    """A CDN token uploads; it does not read the status, and a changed one does nothing."""
    token = caller.post("/storage/auth/token", json={}).json()["token"]
    jwt = caller.post("/tokens/", json={"allowed_apps": ["x"], "token_expiration": 60}).json()
    for bad in (jwt, token[:-1] + ("A" if token[-1] != "A" else "B"), "x.y", "x"):
        reply = caller.post("/files/upload", content=b"x", headers={"authorization": f"Bearer {bad}"})
        assert reply.status_code == 401
    assert caller.get(f"{UNKNOWN}?fal_jwt_token={jwt}").status_code == 404
    assert caller.get(f"{UNKNOWN}?fal_jwt_token={token}").status_code == 401


def test_a_realtime_token_expires(caller: Caller) -> None:
    """token_expiration is in seconds."""
    jwt = caller.post("/tokens/", json={"token_expiration": -1}).json()
    assert caller.get(f"{UNKNOWN}?fal_jwt_token={jwt}").status_code == 401


def test_a_locked_account_reads_and_cannot_submit(
    fal: LocalFal, caller: Caller, video_body: dict[str, Any]
) -> None:
    """403 with fal's text on submit and on storage initiate."""
    done = caller.submit(video_body)["request_id"]
    fal.faults.add("account_locked")
    reply = caller.post(f"/{VIDEO}", json=video_body)
    assert (reply.status_code, reply.json()["detail"][:14]) == (403, "User is locked")
    assert caller.post("/storage/upload/initiate", json={}).status_code == 403
    assert caller.until(done)["status"] == "COMPLETED"
