"""Odd payloads under fal's own signature, and other accounts' webhooks: an answer and a record, never a traceback."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from webhook_parts import Receiving, Signer, payload, submitted_row

from prefect_ltx.ledger import Ledger, State

URL = "https://cdn.example/v.mp4?sig=secret"
ODD: dict[str, Any] = {
    "no seed": {"video": {"url": URL}, "prompt": "p"},
    "seed null": {"video": {"url": URL}, "seed": None, "prompt": "p"},
    "seed beyond 64 bits": {"video": {"url": URL}, "seed": 2**70, "prompt": "p"},
    "seed negative": {"video": {"url": URL}, "seed": -1, "prompt": "p"},
    "seed as text": {"video": {"url": URL}, "seed": "seven", "prompt": "p"},
    "no prompt": {"video": {"url": URL}, "seed": 7},
    "half a surrogate pair": {"video": {"url": URL}, "seed": 7, "prompt": "a \ud83d"},
    "NUL": {"video": {"url": URL}, "seed": 7, "prompt": "a\0b"},
    "video as a list": {"video": [{"url": URL}], "seed": 7, "prompt": "p"},
    "video as a URL": {"video": URL, "seed": 7, "prompt": "p"},
    "size 0": {"video": {"url": URL, "file_size": 0}, "seed": 7, "prompt": "p"},
    "size -5": {"video": {"url": URL, "file_size": -5}, "seed": 7, "prompt": "p"},
    "size as text": {"video": {"url": URL, "file_size": "big"}, "seed": 7, "prompt": "p"},
    "size fractional": {"video": {"url": URL, "file_size": 1.5}, "seed": 7, "prompt": "p"},
    "size huge": {"video": {"url": URL, "file_size": 10**30}, "seed": 7, "prompt": "p"},
    "prompt as a list": {"video": {"url": URL}, "seed": 7, "prompt": ["p"]},
}
UNSTORABLE = ("half a surrogate pair", "NUL", "size huge")
"""What no database keeps is made storable before anything else looks at it."""
UNUSABLE: dict[str, Any] = {
    "bad port": {"video": {"url": "https://cdn.example:99999/v.mp4"}, "seed": 7, "prompt": "p"},
    "bad IDNA": {"video": {"url": "https://xn--\u0000.example/v.mp4"}, "seed": 7, "prompt": "p"},
    "NUL in the URL": {"video": {"url": "https://cdn.example/\0.mp4"}, "seed": 7, "prompt": "p"},
    "no video": {"seed": 7},
    "a list": [1, 2],
    "a text": "done",
    "deep": {"video": {"url": {"url": {"url": []}}}},
    "empty": {},
}
CLEANED = ("bad IDNA", "NUL in the URL")
"""Without their NUL they can be asked for; where that is another file, the result, asked by id, says so."""


@pytest.mark.parametrize("odd", ODD)
def test_a_url_is_enough(odd: str, hook: Receiving, ledger: Ledger, signer: Signer) -> None:
    """Whatever else is missing or absurd, the row is COMPLETED with the URL, and what was odd is recorded."""
    row = submitted_row(ledger)
    assert row.request_id is not None
    body = payload(row.request_id, payload=ODD[odd])
    answer = hook.post(row.nonce, body, signer.headers(body, row.request_id))
    after = ledger.get(row.id)
    assert (answer.status_code, after.state, after.video_url) == (200, State.COMPLETED, URL)
    assert after.oddities or odd in UNSTORABLE


@pytest.mark.parametrize("odd", UNUSABLE)
def test_what_cannot_be_used_is_recorded_as_received(
    odd: str, hook: Receiving, ledger: Ledger, signer: Signer
) -> None:
    """A payload that names no video answers 200 all the same; the row stays, and its result is asked by id."""
    row = submitted_row(ledger)
    assert row.request_id is not None
    body = payload(row.request_id, payload=UNUSABLE[odd])
    answer = hook.post(row.nonce, body, signer.headers(body, row.request_id))
    after = ledger.get(row.id)
    assert answer.status_code == 200
    assert after.state is (State.COMPLETED if odd in CLEANED else State.SUBMITTED)
    assert any(event.event == "WebhookReceived" for event in ledger.events(row.id))
    log = hook.log.read_text()
    assert "Traceback" not in log
    assert "sig=secret" not in log


def test_an_error_payload_that_is_odd_ends_nothing(hook: Receiving, ledger: Ledger, signer: Signer) -> None:
    """Status ERROR with an error that is no text, a list, or nothing: recorded, and the row stays as it is."""
    for error in (None, ["x"], {"status": 422}, 422, "😀" * 100):
        row = submitted_row(ledger)
        assert row.request_id is not None
        body = json.dumps(
            {"request_id": row.request_id, "status": "ERROR", "error": error, "payload": None}
        ).encode()
        answer = hook.post(row.nonce, body, signer.headers(body, row.request_id))
        assert answer.status_code in (200, 400)
        assert ledger.get(row.id).state is State.SUBMITTED
    assert "Traceback" not in hook.log.read_text()


def test_another_accounts_row_is_left_alone(
    hook: Receiving, ledger: Ledger, signer: Signer, folder: Path
) -> None:
    """A webhook about a row of another account in this ledger answers 200 and changes nothing; the log says whose."""
    row = submitted_row(ledger)
    with sqlite3.connect(folder / "ledger.db") as connection:
        connection.execute("UPDATE ltx_generation SET account = 'somebody else' WHERE id = ?", (row.id,))
    connection.close()
    assert row.request_id is not None
    body = payload(row.request_id)
    answer = hook.post(row.nonce, body, signer.headers(body, row.request_id))
    after = ledger.get(row.id)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "another account")
    assert (after.state, after.video_url) == (State.SUBMITTED, None)
    assert "another account" in hook.log.read_text()
