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
    """Somebody who learned a nonce tells the receiver of a video that fal never signed."""
    connection = sqlite3.connect(world.folder / "ledger.db")
    nonces = [
        nonce for (nonce,) in connection.execute("SELECT nonce FROM ltx_generation ORDER BY created_at")
    ]
    connection.close()
    client = world.network.client()
    for number, nonce in enumerate(nonces[:2]):
        world.chance.happened[f"forged/{number}"] = "webhook forged"
        request_id = f"forged-{number}"
        body = json.dumps(
            {
                "request_id": request_id,
                "gateway_request_id": request_id,
                "status": "OK",
                "payload": {"video": {"url": "http://evil.simulated/video.mp4"}, "seed": 1, "prompt": "evil"},
            }
        )
        headers = {
            "Content-Type": "application/json",
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": "local|team",
            "X-Fal-Webhook-Timestamp": str(int(world.machines[0].time())),
            "X-Fal-Webhook-Signature": "ab" * 64,
        }
        with suppress(httpx.HTTPError):
            await client.post(f"http://{RECEIVER}/fal/{nonce}", content=body, headers=headers)
    await client.aclose()
