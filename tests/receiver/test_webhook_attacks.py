"""Attacks on the receiver, over HTTP: refused or deduplicated, and never an extra charge."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import submits
from webhook_parts import USER, Receiving, Signer, a_plan, heard, payload, receiver, signed, submitted_row

from prefect_ltx.ledger import Generation, Ledger, Owner, State
from prefect_ltx.local import LocalFal

KEYS = "/.well-known/jwks.json"


@pytest.fixture
def row(ledger: Ledger) -> Generation:
    return submitted_row(ledger)


@pytest.fixture(autouse=True)
def _nothing_is_ever_charged(fal: LocalFal) -> Iterator[None]:
    before = (len(fal.bill), submits(fal))
    yield
    assert (len(fal.bill), submits(fal)) == before


def untouched(ledger: Ledger, row: Generation) -> bool:
    return heard(ledger, row) == [] and ledger.get(row.id).state is State.SUBMITTED


def fetches(fal: LocalFal) -> int:
    return sum(path == KEYS for _, path, _ in fal.log)


def test_a_webhook_is_recorded_before_it_is_answered(
    hook: Receiving, ledger: Ledger, signer: Signer, row: Generation
) -> None:
    """200 says that the row has its video, and neither log nor history holds the video's URL or the prompt."""
    assert row.request_id is not None
    body = payload(row.request_id)
    assert hook.post(row.nonce, body, signer.headers(body, row.request_id)).json() == {"outcome": "recorded"}
    after = ledger.get(row.id)
    assert (after.state, after.video_url) == (
        State.COMPLETED,
        f"https://cdn.example/{row.request_id}.mp4?sig=secret",
    )
    assert heard(ledger, row) == ["WebhookReceived", "RemoteCompleted"]
    told = hook.log.read_text() + str([line.detail for line in ledger.events(row.id)])
    assert row.request_id in told
    for secret in ("sig=secret", "expanded", row.nonce):
        assert secret not in told


def test_a_wrong_key_is_refused_and_costs_fal_no_burst(
    hook: Receiving, fal: LocalFal, ledger: Ledger, row: Generation
) -> None:
    """Forgeries are 401, and fifty of them make at most a question a second for fal's keys."""
    assert row.request_id is not None
    body, key = payload(row.request_id), Ed25519PrivateKey.generate()
    began, before = time.monotonic(), fetches(fal)
    for _ in range(50):
        assert hook.post(row.nonce, body, signed(key, body, row.request_id)).status_code == 401
    assert fetches(fal) - before <= 2 + (time.monotonic() - began)
    assert untouched(ledger, row)
    assert hook.log.read_text().count("(401 None of") <= 1 + (time.monotonic() - began) / 10


def test_an_altered_byte_is_refused(hook: Receiving, ledger: Ledger, signer: Signer, row: Generation) -> None:
    """The signature is over the raw body: one byte more, or one changed, and it is nobody's."""
    assert row.request_id is not None
    body = payload(row.request_id)
    headers = signer.headers(body, row.request_id)
    for altered in (body + b" ", body.replace(b"1234", b"1235")):
        assert hook.post(row.nonce, altered, headers).status_code == 401
    assert untouched(ledger, row)


@pytest.mark.parametrize("offset", [-302, 302])
def test_a_timestamp_out_of_the_window_is_refused(
    hook: Receiving, ledger: Ledger, signer: Signer, row: Generation, offset: int
) -> None:
    """Older or newer than five minutes, whoever signed it."""
    assert row.request_id is not None
    body = payload(row.request_id)
    headers = signer.headers(body, row.request_id, at=time.time() + offset)
    assert hook.post(row.nonce, body, headers).status_code == 401
    assert untouched(ledger, row)


def test_a_replay_is_answered_and_changes_nothing(
    hook: Receiving, ledger: Ledger, signer: Signer, row: Generation
) -> None:
    """Ten times the same delivery: ten times 200, once written."""
    assert row.request_id is not None
    body = payload(row.request_id)
    headers = signer.headers(body, row.request_id)
    outcomes = [hook.post(row.nonce, body, headers).json()["outcome"] for _ in range(10)]
    assert outcomes == ["recorded"] + ["duplicate"] * 9
    assert heard(ledger, row) == ["WebhookReceived", "RemoteCompleted"]


def test_rotated_keys_are_followed(hook: Receiving, fal: LocalFal, ledger: Ledger, signer: Signer) -> None:
    """fal signs with a new key mid-way: it is fetched when a signature does not fit, and the old one goes."""
    rows = [submitted_row(ledger) for _ in range(3)]
    bodies = [payload(str(row.request_id)) for row in rows]
    before = signer.headers(bodies[2], str(rows[2].request_id))
    assert (
        hook.post(rows[0].nonce, bodies[0], signer.headers(bodies[0], str(rows[0].request_id))).status_code
        == 200
    )
    httpx.post(f"{fal.url}/_local/webhook-key?keep=0").raise_for_status()
    time.sleep(1.1)  # the floor that the fixture set
    assert (
        hook.post(rows[1].nonce, bodies[1], signer.headers(bodies[1], str(rows[1].request_id))).status_code
        == 200
    )
    assert hook.post(rows[2].nonce, bodies[2], before).status_code == 401
    assert [ledger.get(row.id).state for row in rows] == [State.COMPLETED, State.COMPLETED, State.SUBMITTED]


def raw(hook: Receiving, head: str, *parts: bytes) -> str:
    """The status line of the answer to hand-written bytes."""
    where = urlsplit(hook.url)
    assert where.hostname
    with socket.create_connection((where.hostname, where.port or 80), timeout=30) as line:
        line.sendall(head.replace("\n", "\r\n").encode())
        for part in parts:
            try:
                line.sendall(part)
            except OSError:
                break  # it was refused before all of it was read
        return line.recv(4096).decode().split("\r\n")[0]


def test_an_oversized_body_is_refused_before_it_is_read(
    hook: Receiving, ledger: Ledger, signer: Signer, row: Generation
) -> None:
    """By its Content-Length without a byte of it, and in chunks as soon as it is too much."""
    assert row.request_id is not None
    body = payload(row.request_id, payload_error="x" * 2_000_000)
    lines = "".join(f"{name}: {value}\n" for name, value in signer.headers(body, row.request_id).items())
    head = f"POST /fal/{row.nonce} HTTP/1.1\nHost: x\n{lines}"
    assert " 413 " in raw(hook, f"{head}Content-Length: {len(body)}\n\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    # Never ended: only a receiver that stops reading answers.
    assert " 413 " in raw(hook, f"{head}Transfer-Encoding: chunked\n\n", *[chunk] * 20)
    assert untouched(ledger, row)


def test_what_is_no_webhook_is_refused(
    hook: Receiving, ledger: Ledger, signer: Signer, row: Generation
) -> None:
    """Content type, encoding, method, path, each missing header, and a body that is not fal's."""
    assert row.request_id is not None
    body = payload(row.request_id)
    good = signer.headers(body, row.request_id)
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert hook.post(row.nonce, body, good | {"Content-Type": kind}).status_code == 415
    assert hook.post(row.nonce, body, good | {"Content-Encoding": "gzip"}).status_code == 415
    for method in ("GET", "PUT", "DELETE"):
        assert hook.http.request(method, f"{hook.url}/fal/{row.nonce}").status_code == 405
    for nonce in ("short", "with.dots.in.it", "x" * 65):
        assert hook.post(nonce, body, good).status_code == 404
    for missing in [name for name in good if name.startswith("X-")]:
        assert hook.post(row.nonce, body, {k: v for k, v in good.items() if k != missing}).status_code == 400
    for strange in (b"[]", b"{}", b"nonsense", b"[" * 100_000):
        assert hook.post(row.nonce, strange, signer.headers(strange, "x")).status_code == 400
    assert untouched(ledger, row)
    assert hook.http.get(f"{hook.url}/health").json()["ledger"] == "ok"


def test_unreachable_keys_and_another_account(
    fal: LocalFal, ledger: Ledger, signer: Signer, row: Generation, folder: Path
) -> None:
    """Without fal's keys nobody can tell: 503, so that fal delivers again. fal's keys sign for all of fal: with
    PREFECT_LTX_FAL_USER_ID another account's webhook is 403. Stopped by SIGTERM it ends with 0."""
    assert row.request_id is not None
    body = payload(row.request_id)
    headers = signer.headers(body, row.request_id)
    theirs = signer.headers(body, row.request_id, user="github|666")
    fal.faults.add("jwks_5xx")
    with receiver(fal.url, folder, "--jwks-floor", "1", PREFECT_LTX_FAL_USER_ID=USER) as hook:
        refused = hook.post(row.nonce, body, headers)
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert untouched(ledger, row)
        fal.faults.clear()
        time.sleep(1.1)
        assert hook.post(row.nonce, body, theirs).status_code == 403
        assert untouched(ledger, row)
        assert hook.post(row.nonce, body, headers).status_code == 200
        hook.process.terminate()
        assert hook.process.wait(30) == 0


def test_a_leaked_nonce_takes_no_strange_request_in(hook: Receiving, ledger: Ledger, signer: Signer) -> None:
    """Whoever knows a nonce can have fal sign a request of their own: it is no part of the row unless it is ours."""
    known, unknown = submitted_row(ledger), ledger.claim(a_plan(), OWNER).generation
    for row in (known, unknown):
        body = payload("0199aaaa-0000-7000-8000-000000000000")
        answer = hook.post(row.nonce, body, signer.headers(body, "0199aaaa-0000-7000-8000-000000000000"))
        assert answer.status_code == 403
        assert ledger.get(row.id) == row
    assert ledger.strays() == []


def test_a_request_that_nobody_knows_is_reported_and_not_repeated(
    hook: Receiving, ledger: Ledger, signer: Signer
) -> None:
    """Signed by fal, and neither its id nor its nonce is known: 200, as repeating would not help; a line says so."""
    body = payload("0199bbbb-0000-7000-8000-000000000000")
    answer = hook.post("nobodysnonce", body, signer.headers(body, "0199bbbb-0000-7000-8000-000000000000"))
    assert (answer.status_code, answer.json()) == (200, {"outcome": "unknown"})
    assert ledger.find(request_id="0199bbbb-0000-7000-8000-000000000000") == []
    assert hook.http.get(f"{hook.url}/health").json()["deliveries"]["unknown"] == 1
    assert "0199bbbb-0000-7000-8000-000000000000 is signed by fal and unknown" in hook.log.read_text()


def test_an_error_ends_a_generation_only_where_that_is_certain(
    hook: Receiving, ledger: Ledger, signer: Signer
) -> None:
    """A 422 fails it for good, a 5xx leaves it to be asked by id, and no error touches a row that has its video."""
    refused, doubtful, done = (submitted_row(ledger) for _ in range(3))
    detail = {"detail": [{"loc": ["body", "image_url"], "msg": "too small", "type": "image_too_small"}]}
    for row, status in ((refused, 422), (doubtful, 500), (done, 200), (done, 422)):
        error = {"status": "ERROR", "error": f"Invalid status code: {status}", "payload": detail}
        body = payload(str(row.request_id), **(error if status != 200 else {}))
        answer = hook.post(row.nonce, body, signer.headers(body, str(row.request_id)))
        assert answer.json() == {"outcome": "recorded"}
    assert [ledger.get(row.id).state for row in (refused, doubtful, done)] == [
        State.FAILED,
        State.SUBMITTED,
        State.COMPLETED,
    ]
    # As where the result route says it: a retry of that run must not pay for the same refusal again.
    assert [ledger.get(row.id).refused_for_good for row in (refused, doubtful, done)] == [True, False, False]


OWNER = Owner.here(announces_posts=True)
