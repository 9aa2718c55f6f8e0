"""The webhook receiver as a process of its own, and deliveries that fal never signed."""

import asyncio
from typing import Any

from loop import current
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

    world.start(process, serve())
    app = await ready
    assert current() is None
    world.network.servers[RECEIVER] = Server(app, process, "receiver", 80)
