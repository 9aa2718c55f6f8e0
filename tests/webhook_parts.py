"""The receiver as a process, fal's own hand to sign with, and rows that wait for a webhook."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support import SECRET, environment

from prefect_ltx.fal import FalClient
from prefect_ltx.ledger import Accepted, Generation, Ledger, Owner, Plan, schema
from prefect_ltx.ledger.rows import new_row
from prefect_ltx.local import LocalFal

ENDPOINT = "fal-ai/ltx-2.3-quality/ingredient"
ACCOUNT = FalClient(SECRET, base_url="http://127.0.0.1:1").account
"""The tests' account at an embedded fal, whatever its port."""
USER = "local|keyid-for-tests"
"""How the embedded fal's webhooks name the account of the tests' key."""


@dataclass
class Signer:
    """Signs as the embedded fal does, with its own key."""

    fal: LocalFal

    def headers(
        self, body: bytes, request_id: str, *, at: float | None = None, user: str = USER
    ) -> dict[str, str]:
        key = load_pem_private_key((self.fal.data / "webhook-ed25519.pem").read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        return signed(key, body, request_id, at=at, user=user)


def signed(
    key: Ed25519PrivateKey, body: bytes, request_id: str, *, at: float | None = None, user: str = USER
) -> dict[str, str]:
    """The headers that fal puts on this body."""
    stamp = str(int(time.time() if at is None else at))
    message = "\n".join((request_id, user, stamp, hashlib.sha256(body).hexdigest())).encode()
    return {
        "Content-Type": "application/json",
        "X-Fal-Webhook-Request-Id": request_id,
        "X-Fal-Webhook-User-Id": user,
        "X-Fal-Webhook-Timestamp": stamp,
        "X-Fal-Webhook-Signature": key.sign(message).hex(),
    }


def payload(request_id: str, *, seed: int = 7, **changes: Any) -> bytes:
    """The body of a webhook about a finished video."""
    video = {"url": f"https://cdn.example/{request_id}.mp4?sig=secret", "file_size": 1234}
    told: dict[str, Any] = {
        "request_id": request_id,
        "gateway_request_id": request_id,
        "status": "OK",
        "payload": {"video": video, "seed": seed, "prompt": "an expanded prompt"},
    }
    return json.dumps(told | changes).encode()


def submitted_row(ledger: Ledger, *, request_id: str | None = None) -> Generation:
    """A row that fal accepted and nobody waits for."""
    owner = Owner.here(announces_posts=True)
    row = ledger.claim(a_plan(), owner).generation
    ledger.begin_post(row.id, owner)
    ledger.record(row.id, Accepted(request_id or str(uuid.uuid4())), owner=owner)
    ledger.release(row.id, owner)
    return ledger.get(row.id)


def submitted_rows(ledger: Ledger, count: int) -> list[Generation]:
    """As many of them in one transaction, as `submitted_row` leaves them: 500 commits take too long for a test."""
    rows = [
        new_row(a_plan(), time.time())
        | {"state": "SUBMITTED", "request_id": str(uuid.uuid4()), "submitted_at": time.time()}
        for _ in range(count)
    ]
    ledger._database.write(lambda connection: connection.execute(schema.generation.insert(), rows))
    return [ledger.get(row["id"]) for row in rows]


def a_plan() -> Plan:
    """A plan with a key of its own."""
    key = uuid.uuid4().hex
    return Plan(
        key=key,
        seedless_key=f"seedless-{key}",
        endpoint=ENDPOINT,
        account=ACCOUNT,
        body={"prompt": "a cup", "seed": 7},
        seed=7,
        seed_drawn=False,
        price_expected_usd=Decimal("0.25"),
        price_upper_usd=Decimal("0.30"),
    )


@dataclass
class Receiving:
    """A receiver that runs in a process of its own."""

    url: str
    process: "subprocess.Popen[str]"
    log: Path
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    def post(self, nonce: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return self.http.post(f"{self.url}/fal/{nonce}", content=body, headers=headers)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@contextmanager
def receiver(
    fal_url: str, folder: Path, *options: str, before: tuple[str, ...] = (), **environ: str
) -> Iterator[Receiving]:
    """`prefect-ltx webhook` with the ledger of `environment(fal_url, folder)`; `before` is a command that runs it."""
    log = folder / "receiver.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "prefect_ltx.cli", "webhook", *options],
            env=os.environ | environment(fal_url, folder) | environ,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready "), log.read_text()
    running = Receiving(line.split()[1], process, log)
    try:
        yield running
    finally:
        running.http.close()
        process.stdout.close()
        if process.poll() is None:
            process.terminate()
        process.wait(60)


def heard(ledger: Ledger, row: Generation) -> list[str]:
    """The names of the events that webhooks brought to this row."""
    return [line.event for line in ledger.events(row.id) if line.actor == "webhook"]


def until(condition: Any, seconds: float = 60) -> Any:
    """What `condition` gives once it gives something true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return found
