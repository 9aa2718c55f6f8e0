"""One s3fs session for each archive and event loop, and the one place where S3 requests are tried again.

s3fs and botocore retry too, and their retries multiply (25 requests, 40 s for a lasting 503); theirs are off.
"""

import asyncio
import functools
import os
import random
import threading
import weakref
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import botocore
import s3fs
from aiobotocore.session import AioSession
from botocore.handlers import add_expect_header
from botocore.loaders import Loader, create_loader
from pydantic import SecretStr

from prefect_ltx.archive.s3_answers import check_answer
from prefect_ltx.archive.s3_body import Body
from prefect_ltx.archive.s3_errors import worth_another_try
from prefect_ltx.bucket_rules import BucketRules

ATTEMPTS: Final = 4
BODIES_IN_FLIGHT: Final = 8  # those that arrive are held in memory meanwhile, 8 MiB each
STREAMS: Final = (
    4  # files that are written as they arrive; each may hold 16 MiB until it is known to be whole
)


class S3Settings:
    """Where S3 is and who we are; None leaves it to botocore (AWS_* variables, profile, role)."""

    def __init__(
        self,
        *,
        endpoint_url: str | None = None,
        key: str | SecretStr | None = None,
        secret: str | SecretStr | None = None,
        token: str | SecretStr | None = None,
        region: str | None = None,
        addressing_style: str | None = None,
        request_checksum_calculation: str = "when_supported",
        retry_wait: float = 0.2,
        request_timeout: float = 120,
        rules: BucketRules | None = None,
    ) -> None:
        """Keep settings; secrets are hidden from every representation."""
        self.endpoint_url = endpoint_url or None
        self.key, self.secret, self.token = (_hidden(each) for each in (key, secret, token))
        # botocore itself reads AWS_DEFAULT_REGION only; AWS's other tools know both, this one first.
        self.region = region or os.environ.get("AWS_REGION") or None
        self.addressing_style = addressing_style or self._usual_style()
        self.request_checksum_calculation = request_checksum_calculation
        self.rules = rules or BucketRules()
        self.retry_wait = retry_wait
        self.request_timeout = request_timeout

    def _endpoint(self) -> str | None:
        elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return self.endpoint_url or elsewhere

    def _usual_style(self) -> str:
        # Other servers than AWS seldom have a host name for every bucket.
        return "path" if self._endpoint() else "auto"

    def _in_clear(self) -> bool:
        return (self._endpoint() or "https:").startswith("http:")

    def file_system(self) -> Any:
        """Return a new asynchronous s3fs file system; it connects on first use."""
        return s3fs.S3FileSystem(
            asynchronous=True,
            skip_instance_cache=True,
            session=_new_session(),
            use_listings_cache=False,
            endpoint_url=self.endpoint_url,
            key=_shown(self.key),
            secret=_shown(self.secret),
            token=_shown(self.token),
            client_kwargs={"region_name": self.region} if self.region else {},
            config_kwargs={
                "connect_timeout": 10,
                "read_timeout": 60,
                "max_pool_connections": 64,
                # botocore's own is put together anew for every request, at a quarter of what a request costs.
                "user_agent": f"prefect-ltx botocore/{botocore.__version__}",
                "retries": {"total_max_attempts": 1, "mode": "standard"},
                "request_checksum_calculation": self.request_checksum_calculation,
                "s3": {
                    "addressing_style": self.addressing_style,
                    # Every body carries a signed SHA-256 of its own, so over TLS botocore need not hash it once
                    # more; it would, in the event loop.
                    **({} if self._in_clear() else {"payload_signing_enabled": False}),
                },
            },
        )


class S3Session:
    """The connection of one event loop: `call` sends one S3 request, with retries and a time limit."""

    def __init__(self, settings: S3Settings) -> None:
        """Prepare a session for the running event loop; nothing is sent yet."""
        self.bodies = asyncio.Semaphore(BODIES_IN_FLIGHT)
        # A handshake for each of a hundred files that start at once would cost more than it brings.
        self.writes = asyncio.Semaphore(BODIES_IN_FLIGHT)
        # One file at a time is read and hashed, beside the one that is being sent.
        self.reading = asyncio.Lock()
        self.arriving = 0
        self._settings = settings
        self._file_system = settings.file_system()
        self._file_system.retries = 1
        self._keeper = self._keep()
        self._opening = asyncio.Lock()
        self._open = False

    async def call(
        self,
        method: str,
        request: Mapping[str, Any],
        *,
        body: Body | None = None,
        attempts: int = ATTEMPTS,
    ) -> Any:
        """Send a request, up to `attempts` times while that may help; the last error is raised as it is."""
        await self._ensure_open()
        # Here and nowhere else, so that no write can go without what the bucket asks for.
        request = {**self._settings.rules.of_request(method, request), **request}
        content = {"Body": body} if body is not None else {}
        for attempt in range(1, attempts + 1):
            try:
                async with asyncio.timeout(self._settings.request_timeout):
                    answer = await self._file_system._call_s3(method, **request, **content)
                    check_answer(method, answer)
                    return answer
            except Exception as error:
                if attempt == attempts or not worth_another_try(error):
                    raise
            wait = self._settings.retry_wait * 3 ** (attempt - 1)
            await asyncio.sleep(wait * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._keeper.aclose()

    async def _ensure_open(self) -> None:
        async with self._opening:
            if not self._open:
                await anext(self._keeper)
                self._open = True

    async def _keep(self) -> AsyncGenerator[None, None]:
        # An event loop that ends closes the asynchronous generators that began in it, and with this one the
        # connections: so `asyncio.run(archive.verify())` leaves nothing open.
        await self._file_system.set_session()
        # A round trip for each body, and a server that does not know it would leave aiohttp waiting.
        self._file_system.s3.meta.events.unregister("before-call.s3", add_expect_header)
        try:
            yield
        finally:
            await self._file_system.s3.close()


class S3Sessions:
    """The sessions of an archive, one for each event loop that uses it."""

    def __init__(self, settings: S3Settings) -> None:
        """Keep no session yet."""
        self._settings = settings
        self._lock = threading.Lock()
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, S3Session] = (
            weakref.WeakKeyDictionary()
        )

    def here(self) -> S3Session:
        """Return the running loop's session."""
        with self._lock:
            loop = asyncio.get_running_loop()
            if loop not in self._sessions:
                self._sessions[loop] = S3Session(self._settings)
            return self._sessions[loop]

    async def aclose(self) -> None:
        """Close the running loop's session, if it has one."""
        with self._lock:
            session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.aclose()


def _new_session() -> AioSession:
    session = AioSession()
    session.lazy_register_component(
        "data_loader", lambda: _descriptions(session.get_config_variable("data_path"))
    )
    return session


@functools.cache
def _descriptions(search_path: str | None) -> Loader:
    """botocore's descriptions of AWS's services. To find and read them is more than half of what it costs to open an
    archive on S3, and each session would do it anew.
    """
    return create_loader(search_path)


def _hidden(value: str | SecretStr | None) -> SecretStr | None:
    return value if isinstance(value, SecretStr) else SecretStr(value) if value else None


def _shown(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None
