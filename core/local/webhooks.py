"""Webhooks as fal sends them (fal-protocol §4): signed with Ed25519, at least once, in no order.

The signed message is request id, user id, timestamp and the hex SHA-256 of the raw body, joined by
newlines. The key pair lives in the data folder, so a receiver may go on trusting it after a restart; it can be
replaced while the server runs, as fal may do. Unlike fal, the stand-in delivers to loopback addresses too, where it was
told that it may.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from prefect_ltx.local import store as db
from prefect_ltx.local.ids import new_request_id
from prefect_ltx.local.origin import Origin
from prefect_ltx.local.outbound import LocalAddressRefused
from prefect_ltx.local.outputs import is_inline, output_of
from prefect_ltx.local.rows import RequestRow, to_json
from prefect_ltx.local.site import Site

logger = logging.getLogger(__name__)

KEY_NAME: Final = "webhook-ed25519.pem"
_ATTEMPTS: Final = 31
_FIRST_TIMEOUT: Final = 15.0
_LATER_TIMEOUT: Final = 120.0
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 300.0


class Webhooks:
    """Sends what `schedule` gives it, each in its own task, until delivered or given up."""

    def __init__(self, site: Site) -> None:
        """Load the key pair, or draw one."""
        self._site = site
        self._key = _load_or_make_key(site.data / KEY_NAME)
        self._old: list[Ed25519PrivateKey] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._passed = asyncio.Event()

    @property
    def jwks(self) -> dict[str, Any]:
        """The public keys as `/.well-known/jwks.json` shows them, the one in use first."""
        return {"keys": [_jwk(key) for key in (self._key, *self._old)]}

    def rotate(self, *, keep: bool = True) -> None:
        """Sign with a new key from now on; with `keep` the old ones stay in the key set until the next start."""
        self._old = [self._key, *self._old] if keep else []
        path = self._site.data / KEY_NAME
        path.unlink()
        self._key = _load_or_make_key(path)

    async def start(self) -> None:
        """Deliver what the last server still owed."""
        for row in await self._site.store.call(db.undelivered):
            self.schedule(row)

    async def stop(self) -> None:
        """Leave the rest to the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def schedule(self, row: RequestRow) -> None:
        """Send the webhook of a finished request. From the event loop only."""
        task = asyncio.get_running_loop().create_task(self._send(row))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def sign(self, body: bytes, request_id: str, user_id: str) -> dict[str, str]:
        """The four headers that go with this body now."""
        timestamp = str(int(self._site.now()))
        message = "\n".join([request_id, user_id, timestamp, hashlib.sha256(body).hexdigest()])
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": user_id,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(message.encode()).hex(),
        }

    async def _send(self, row: RequestRow) -> None:
        faults = self._site.faults
        if not faults.take("lost_webhooks", endpoint=row.endpoint):
            if held := faults.take("reordered_webhooks", endpoint=row.endpoint):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._passed.wait(), held.value)
            copies = faults.take("duplicate_webhooks", endpoint=row.endpoint)
            for _ in range(int(copies.value or 1) if copies else 1):
                await self._deliver(row)
            self._passed.set()
            self._passed = asyncio.Event()
        await self._site.store.call(db.webhook_done, row.request_id)

    async def _deliver(self, row: RequestRow) -> None:
        body = to_json(await self._payload(row)).encode()
        delay = _FIRST_DELAY
        async with self._site.outbound(follow_redirects=False) as client:
            for attempt in range(_ATTEMPTS):
                headers = {
                    "Content-Type": "application/json",
                    "User-Agent": "prefect-ltx-local-fal",
                    **self.sign(body, row.request_id, user_id(row.key_id)),
                }
                timeout = _LATER_TIMEOUT if attempt else _FIRST_TIMEOUT
                try:
                    async with client.stream(
                        "POST", row.webhook or "", content=body, headers=headers, timeout=timeout
                    ) as reply:
                        if reply.is_success or reply.is_redirect:  # a redirect is a failure for good
                            return
                except LocalAddressRefused as error:
                    logger.warning("The webhook of %s is not delivered: its URL is %s", row.request_id, error)
                    return
                except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                    logger.info("webhook of %s: %s", row.request_id, type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)

    async def _payload(self, row: RequestRow) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "request_id": row.request_id,
            "gateway_request_id": new_request_id(row.submitted_at, self._site.runtime),
            "status": "OK" if row.status_code == 200 else "ERROR",
            "payload": None,
        }
        if row.status_code != 200:
            payload["error"] = f"Invalid status code: {row.status_code}"
        if is_inline(row) or self._site.faults.take("webhook_payload_error", endpoint=row.endpoint):
            payload["payload_error"] = "Response payload could not be serialized"
        else:
            payload["payload"] = await output_of(row, Origin(**json.loads(row.origin)), self._site)
        return payload


def user_id(key_id: str) -> str:
    """The account as webhooks name it."""
    return f"local|{key_id or 'anonymous'}"


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "x": x}


def _load_or_make_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        partial = path.with_suffix(".part")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
        partial.replace(path)
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise db.StoreUnusable(f"{path} does not hold an Ed25519 key; use a new data folder")
    return key
