"""The URLs of one request (fal-protocol §1.3): submit has the full endpoint id, the rest owner/app."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.hosts import FalHosts
from prefect_ltx.fal.reply import valid_request_id
from prefect_ltx.fal.wire import SubmitReceipt

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]*")
_NUMBERED: Final = re.compile(r"(\d+)-([A-Za-z0-9_][A-Za-z0-9._~-]*)")
_NAMESPACES: Final = frozenset({"workflows", "comfy"})


def endpoint_path(endpoint: str) -> str:
    """`endpoint` as a path without its leading slash.

    Raises:
        FalRequestInvalid: unless it is owner/app, with or without a path behind it. No segment may be `..`.
    """
    if numbered := _NUMBERED.fullmatch(endpoint):
        return f"{numbered[1]}/{numbered[2]}"
    segments = endpoint.split("/")
    if len(segments) < 2 or any(".." in part or not _SEGMENT.fullmatch(part) for part in segments):
        raise FalRequestInvalid(f"{endpoint!r} is not an endpoint id such as owner/app/path")
    return endpoint


def app_path(endpoint: str) -> str:
    """Owner and app of `endpoint`: where its requests live. Both LTX endpoints share one."""
    segments = endpoint_path(endpoint).split("/")
    return "/".join(segments[: 3 if segments[0] in _NAMESPACES else 2])


@dataclass(frozen=True)
class RequestUrls:
    """Where one request is read and cancelled."""

    status: str
    response: str
    cancel: str

    @classmethod
    def built(cls, hosts: FalHosts, endpoint: str, request_id: str) -> Self:
        """Rebuilt from the endpoint, as the official JavaScript client always does.

        Raises:
            FalRequestInvalid: for an endpoint or a request id that cannot stand in a path.
        """
        if not valid_request_id(request_id):
            raise FalRequestInvalid(f"{request_id!r} is not a request id")
        base = f"{hosts.queue}/{app_path(endpoint)}/requests/{request_id}"
        return cls(status=f"{base}/status", response=base, cancel=f"{base}/cancel")

    @classmethod
    def chosen(cls, hosts: FalHosts, endpoint: str, request_id: str, named: dict[str, Any]) -> Self:
        """The URLs that an answer names, each only if it may receive the key, else rebuilt."""
        built = cls.built(hosts, endpoint, request_id)

        def pick(name: str, otherwise: str) -> str:
            url = named.get(name)
            return url if isinstance(url, str) and hosts.may_receive_key(url) else otherwise

        return cls(
            status=pick("status_url", built.status),
            response=pick("response_url", built.response),
            cancel=pick("cancel_url", built.cancel),
        )

    def receipt(self, request_id: str, queue_position: object) -> SubmitReceipt:
        """The receipt that carries these URLs."""
        known = isinstance(queue_position, int) and not isinstance(queue_position, bool)
        return SubmitReceipt(
            request_id=request_id,
            response_url=self.response,
            status_url=self.status,
            cancel_url=self.cancel,
            queue_position=queue_position if known else None,
        )
