"""Where fal is, and which addresses may ever see the account's key.

A reply of fal's names URLs, and the official clients send the key wherever these point. Here the key goes to
the origins (scheme, host, port) that are configured, and to nothing else: no subdomain rule, because fal
serves users' files and users' apps from subdomains of its own.
"""

import hashlib
import ipaddress
import re
from functools import cached_property, lru_cache
from typing import Final, Self

import httpx
from pydantic import BaseModel, ConfigDict, field_validator

from prefect_ltx.fal.errors import FalRequestInvalid

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FAL_FILES: Final = "fal.media"

_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9._~/?=&-]{0,2000}")

Origin = tuple[str, str, int]


class FalHosts(BaseModel):
    """The base URLs of one fal. Without a trailing slash; a path prefix is allowed.

    The paths below them: `queue` and `run` take `/{endpoint}`, `rest` `/storage/…` and `/.well-known/…`,
    `cdn` `/files/…`, `api` `/v1/…`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    queue: str
    rest: str
    cdn: str
    api: str
    is_gateway: bool = False
    """Whether these stand in front of fal: then the account is one of fal's, and nothing more is believed of them."""

    @classmethod
    def default(cls) -> Self:
        """The real fal."""
        return cls(
            run="https://fal.run",
            queue="https://queue.fal.run",
            rest="https://rest.fal.ai",
            cdn="https://v3.fal.media",
            api="https://api.fal.ai",
        )

    @classmethod
    def from_base_url(cls, url: str, *, is_gateway: bool = False) -> Self:
        """One origin for everything, as the embedded server serves it; `run` is below `/run`.

        Raises:
            FalRequestInvalid: when `url` is not a plain http or https URL.
        """
        base = _checked(url)
        return cls(run=f"{base}/run", queue=base, rest=base, cdn=base, api=base, is_gateway=is_gateway)

    @field_validator("run", "queue", "rest", "cdn", "api")
    @classmethod
    def _base_url(cls, value: str) -> str:
        return _checked(value)

    @property
    def is_fal(self) -> bool:
        """Whether requests go to the real fal, where they cost money."""
        return _origin(self.queue) == _origin("https://queue.fal.run")

    @property
    def account_host(self) -> str:
        """What stands for the service in an account's fingerprint.

        "fal.ai" for the real fal. A loopback host comes without its port: the embedded server takes any free
        one, and a restart must not make all its videos unknown. Any other host comes with its port.
        """
        if self.is_fal or self.is_gateway:
            return "fal.ai"
        host = httpx.URL(self.queue).host
        return host if _is_loopback(host) else f"{host}:{port_of(self.queue)}"

    def fingerprint(self, key_id: str) -> str:
        """16 hex digits for the account of this key id at this service."""
        return hashlib.sha256(f"{self.account_host}\n{key_id}".encode()).hexdigest()[:16]

    def may_receive_key(self, url: str) -> bool:
        """Whether the account's key may be sent to `url`: same scheme, host and port as a configured host.

        The CDN is not among them (it takes a token of its own), unless it shares its origin with one.
        """
        for base in {self.queue, self.run, self.rest, self.api}:
            # Behind a base that was read before, a path of plain characters cannot lead to another origin.
            if url.startswith(base) and _PLAIN_PATH.fullmatch(url, len(base)):
                return True
        return (origin := _origin(url)) is not None and origin in self._key_origins

    @cached_property
    def _key_origins(self) -> frozenset[Origin | None]:
        return frozenset(_origin(base) for base in (self.run, self.queue, self.rest, self.api))

    def may_receive_token(self, url: str) -> bool:
        """Whether a CDN upload token may be sent to `url`: the configured CDN; for the real fal also any
        https host of fal.media, because replies name its sister hosts (v3b.fal.media; fal-protocol §6.3)."""
        origin = _origin(url)
        if origin is None:
            return False
        if origin == _origin(self.cdn):
            return True
        scheme, host, port = origin
        ours = host == _FAL_FILES or host.endswith("." + _FAL_FILES)
        return self.is_fal and scheme == "https" and port == 443 and ours


def port_of(base: str) -> int:
    """The port of a base URL that has been checked."""
    url = httpx.URL(base)
    return url.port or _DEFAULT_PORTS[url.scheme]


def _checked(url: str) -> str:
    base = url.strip().rstrip("/")
    if _origin(base) is None:
        raise FalRequestInvalid(
            f"{base!r} is not a URL of fal: give http(s)://host[:port], without credentials"
        )
    parsed = httpx.URL(base)
    if parsed.query or parsed.fragment:
        raise FalRequestInvalid(f"{base!r}: a base URL of fal has no query and no fragment")
    return base


@lru_cache(maxsize=64)
def _origin(url: str) -> Origin | None:
    """(scheme, host, port) as the HTTP client itself will read `url`; None for anything at all unusual.

    Parsing with the very parser that later sends is what closes the gap through which
    `https://queue.fal.run\\@evil.example` or `https://queue.fal.run@evil.example` would slip.
    """
    if any(char <= " " or char == "\\" or char == "\x7f" for char in url):
        return None
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError, TypeError):
        return None
    if parsed.scheme not in _DEFAULT_PORTS or not parsed.host or parsed.userinfo:
        return None
    return parsed.scheme, parsed.host.lower(), parsed.port or _DEFAULT_PORTS[parsed.scheme]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
