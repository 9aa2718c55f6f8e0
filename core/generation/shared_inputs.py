"""The inputs of many generations: each source fetched and hashed once, each content uploaded once."""

import asyncio
from typing import Literal

from prefect_ltx.fal import FalRequestInvalid, GenerationRequest, MediaKind, media_kind
from prefect_ltx.generation.inputs import InputMedia, MediaDigest, fetch_input
from prefect_ltx.generation.plan import Prepared
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.upload import UploadedMedia, upload

AT_ONCE = 4

Kind = MediaKind | Literal["any"]


class SharedInputs:
    """What a run's requests have in common. Safe for many coroutines of one event loop; `discard` at the end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._fetched: dict[tuple[str, Kind], asyncio.Task[InputMedia]] = {}
        self._uploaded: dict[str, asyncio.Task[UploadedMedia]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def digests(self, request: GenerationRequest) -> dict[str, MediaDigest]:
        """The content of every media field of a request, by its name.

        Raises:
            FalRequestInvalid: naming the field; nothing was sent or spent.
        """
        found: dict[str, MediaDigest] = {}
        for field, source in request.media().items():
            try:
                found[field] = (await self._media(field, source)).digest
            except FalRequestInvalid as error:
                raise FalRequestInvalid(f"{field}: {error.what}") from error
        return found

    async def media(self, request: GenerationRequest) -> dict[str, InputMedia]:
        """The media fields of a request as local files, read and hashed once; they stay until `discard`."""
        return {field: await self._media(field, source) for field, source in request.media().items()}

    async def upload(self, ready: Prepared) -> dict[str, UploadedMedia]:
        """Bring every media field to fal, unless fal has the bytes already.

        Raises:
            FalRequestInvalid: a file changed since it was planned.
            FalUploadError, FalUnavailable: fal's storage; nothing was spent, and the next call tries again.
        """
        return {field: await self._upload(media) for field, media in ready.inputs.items()}

    def discard(self) -> None:
        """Stop what is going on and remove our own copies; users' files stay."""
        for task in (*self._fetched.values(), *self._uploaded.values()):
            task.cancel()
            if task.done() and not task.cancelled():
                task.exception()  # whoever asked has seen it
        for fetching in self._fetched.values():
            if fetching.done() and not fetching.cancelled() and not fetching.exception():
                fetching.result().discard()

    async def _media(self, field: str, source: str) -> InputMedia:
        kind = media_kind(field)
        task = self._fetched.get((source, kind))
        if task is None:
            task = asyncio.create_task(self._fetch(source, kind))
            self._fetched[source, kind] = task
        return await asyncio.shield(task)

    async def _fetch(self, source: str, kind: Kind) -> InputMedia:
        async with self._turn:
            return await fetch_input(self._services, source, kind=kind)

    async def _upload(self, media: InputMedia) -> UploadedMedia:
        sha256 = media.digest.sha256
        task = self._uploaded.get(sha256)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.create_task(self._send(media))
            self._uploaded[sha256] = task
        return await asyncio.shield(task)

    async def _send(self, media: InputMedia) -> UploadedMedia:
        async with self._turn:
            return await upload(self._services, media)
