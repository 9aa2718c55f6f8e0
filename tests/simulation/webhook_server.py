"""The webhook receiver as a process of its own, and deliveries that fal never signed."""

import asyncio
import json
import sqlite3
from contextlib import suppress
from typing import Any

import httpx
from wire import Server
from world import RECEIVER, World

from prefect_ltx.receiver.announcer import Announcer
from prefect_ltx.receiver.app import Receiver, build_app
from prefect_ltx.receiver.keys import KeyRing
from prefect_ltx.receiver.recorder import Recorder


async def serve_webhooks(world: World) -> None:
    """Let a receiver listen from now on."""
    process = world.process("receiver")
    ready: asyncio.Future[Any] = world.loop.create_future()

    async def serve() -> None:
        services = world.services()
        await services.begin()
        recorder = Recorder(services.ledger, lambda _: None)

        async def fetch() -> list[dict[str, object]]:
            return await services.client.webhook_keys(refresh=True)

        receiver = Receiver(
            services.client,
            KeyRing(fetch, clock=world.loop.time),
            recorder,
            user_id=None,
            identify=services.begin,
            clock=services.runtime.time,
        )
        announcer = Announcer(services.ledger, lambda _: None, again_after=900)
        app = build_app(receiver, recorder, announcer)
        work = asyncio.create_task(recorder.run())
        if not ready.done():
            ready.set_result(app)
        await work

    serving = world.start(process, serve())
    await asyncio.wait({ready, serving}, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():  # else it could not even begin, and nobody listens
        world.network.servers[RECEIVER] = Server(ready.result(), process, "receiver", 80)


async def forge(world: World) -> None:
    """Somebody who learned nonces and request ids: he tells the receiver of ends that fal never signed, and has fal
    sign requests of his own account for our addresses."""
    seen, number = len(world.network.seen), 0
    while number < 6 and not world.healed:
        await asyncio.sleep(1)
        if len(world.network.seen) != seen:
            seen = len(world.network.seen)
            await asyncio.sleep(world.chance.skewed(f"forged/{number}/pause", 0.01, 10))
            await _forge(world, number)
            number += 1


async def _forge(world: World, number: int) -> None:
    connection = sqlite3.connect(world.folder / "ledger.db")
    newest = "SELECT nonce, request_id FROM ltx_generation ORDER BY created_at DESC LIMIT 1"
    rows = connection.execute(newest).fetchall()
    connection.close()
    client = world.network.client()
    for nonce, known in rows:
        request_id = known or f"forged-{number}"
        signs = not known or world.chance.fraction(f"forged/{number}/signed") < 0.5
        if signs:
            request_id = f"stranger-{number}"
        body = json.dumps(
            _STORIES[world.chance.pick(f"forged/{number}/story", (0, 1))] | {"request_id": request_id}
        )
        if signs:
            world.chance.happened[f"forged/{number}"] = "webhook for a stranger's request"
            headers = world.app.state.webhooks.sign(body.encode(), request_id, "local|stranger")
        else:
            world.chance.happened[f"forged/{number}"] = "webhook forged"
            headers = {
                "X-Fal-Webhook-Request-Id": request_id,
                "X-Fal-Webhook-User-Id": "local|team",
                "X-Fal-Webhook-Timestamp": str(int(world.site.now())),
                "X-Fal-Webhook-Signature": "ab" * 64,
            }
        headers["Content-Type"] = "application/json"
        with suppress(httpx.HTTPError):
            await client.post(f"http://{RECEIVER}/fal/{nonce}", content=body, headers=headers)
    await client.aclose()


_STORIES: tuple[dict[str, Any], ...] = (
    {
        "status": "OK",
        "payload": {"video": {"url": "http://evil.simulated/video.mp4"}, "seed": 1, "prompt": "evil"},
    },
    {
        "status": "ERROR",
        "error": "Invalid status code: 422",
        "payload": {"detail": [{"loc": ["body"], "msg": "no", "type": "value_error"}]},
    },
)
