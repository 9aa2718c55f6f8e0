"""What the embedded fal can be told to do wrong, and the knobs it has: one table that names them all.

A fault is switched on in process (`fal.faults.add("lost_reply")`), by a JSON file at start, or over HTTP
under `/_local/faults`. It acts `times` times (-1: always) on what its `endpoint` and `path` filters let
through.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

ALWAYS: Final = -1


class FaultKind(NamedTuple):
    """What a fault does, how often unless told otherwise, and what its value means."""

    sentence: str
    times: int = 1
    value: float | None = None


KNOWN: Final[Mapping[str, FaultKind]] = {
    # submit
    "lost_reply": FaultKind(
        "The submit is accepted, then the connection is reset before a byte of the reply."
    ),
    "accept_then_timeout": FaultKind(
        "The submit is accepted, then nothing is sent for `value` seconds.", 1, 600
    ),
    "accept_then_502": FaultKind(
        "The submit is accepted, then nginx's HTML page comes as 502, without fal's id."
    ),
    "accept_then_cut_body": FaultKind(
        "The submit is accepted, 200, and the connection ends inside the body."
    ),
    "slow_accept": FaultKind("The submit is accepted at once and answered after `value` seconds.", 1, 1),
    "double_accept": FaultKind(
        "One POST is accepted twice: a second request with the same body runs and bills."
    ),
    "reject_reset": FaultKind("The connection is reset and the submit is not accepted."),
    "reject_5xx": FaultKind("The submit is refused with status `value` and not accepted.", 1, 503),
    "reject_429": FaultKind("The submit is refused with 429 and not accepted."),
    "account_locked": FaultKind(
        "403 'User is locked' on submit and on storage initiate; reads go on.", ALWAYS
    ),
    # queue and run
    "stuck_queue": FaultKind("The request stays IN_QUEUE until this fault is cleared or it is cancelled."),
    "slow_run": FaultKind("The job takes `value` seconds more.", 1, 5),
    "requeued": FaultKind("The running job goes back to the queue once, as when fal's runner dies."),
    "job_fails": FaultKind(
        "The generation ends with fal's internal_server_error (500, retryable, not billed)."
    ),
    "job_422": FaultKind("The generation ends with content_policy_violation (422)."),
    "cancel_ignored": FaultKind("A running job is not stopped by a cancel; it finishes and is billed."),
    "concurrency": FaultKind("At most `value` jobs run at once.", ALWAYS, 2),
    # status and result
    "status_5xx": FaultKind("A status read answers `value`.", 1, 503),
    "result_5xx": FaultKind("A result read answers `value`, though the generation is fine.", 1, 500),
    "read_reset": FaultKind("The connection is reset on a status or result read."),
    "result_404": FaultKind(
        "The result has expired: 404 from then on; the listing still has it, with payload."
    ),
    "result_purged": FaultKind(
        "The result has expired and the request is gone from status and listing as well."
    ),
    # delivery
    "truncated_download": FaultKind("A file download ends half-way, with the full Content-Length announced."),
    "corrupted_download": FaultKind("A file download has the right length and other bytes."),
    "slow_download": FaultKind("A file download runs at `value` bytes a second.", 1, 100_000),
    "expired_file": FaultKind("A file is gone from the CDN: 404."),
    "snap": FaultKind(
        "The clip is made as the model does it: sides in multiples of 64, frames 8k+1.", ALWAYS
    ),
    "sheet_lead_in": FaultKind("An ingredient clip opens with `value` frames of the reference sheet.", 1, 3),
    "megapixel_cap": FaultKind("A request for more than `value` megapixels ends with 422.", ALWAYS, 150),
    # webhooks
    "duplicate_webhooks": FaultKind("A webhook is delivered `value` times.", 1, 2),
    "reordered_webhooks": FaultKind(
        "A webhook is held until the next one has gone, or for `value` seconds.", 1, 5
    ),
    "lost_webhooks": FaultKind("A webhook is never delivered."),
    "webhook_payload_error": FaultKind("A webhook comes with payload null and a payload_error."),
    "jwks_5xx": FaultKind("The key set of webhooks answers `value`.", ALWAYS, 503),
    # storage
    "refused_upload": FaultKind(
        "A write to storage (upload, part, signed PUT, initiate) answers `value`.", 1, 500
    ),
    "refused_cdn_token": FaultKind("The CDN token endpoint answers `value`.", 1, 500),
    # Platform API
    "platform_5xx": FaultKind("A Platform API call answers `value`.", 1, 500),
    "listing_lag_seconds": FaultKind(
        "A request is listed only `value` seconds after its submit.", ALWAYS, 60
    ),
    "listing_forbidden": FaultKind("The key may not list requests: 403.", ALWAYS),
    "listing_hides_queued": FaultKind("A request is listed only once it has started.", ALWAYS),
    "listing_without_payloads": FaultKind("Listed requests carry no payloads.", ALWAYS),
    "billing_forbidden": FaultKind("The key may not read billing events, usage or the account: 403.", ALWAYS),
    "billing_lag_seconds": FaultKind("A charge is a billing event only `value` seconds later.", ALWAYS, 60),
    # money
    "bill_422": FaultKind("A generation that ends with 422 is billed for what it asked.", ALWAYS),
    "bill_cancelled": FaultKind("A job cancelled while it ran is billed for what it asked.", ALWAYS),
    "overbill": FaultKind("A generation is billed `value` megapixels more than it delivered.", ALWAYS, 1),
    "unit_price": FaultKind(
        "A megapixel costs `value` dollars, in the price list and on the bill.", ALWAYS, 0.0027075
    ),
}


class Fault(BaseModel):
    """One fault that is switched on. `times` counts down to 0; -1 never does."""

    model_config = ConfigDict(extra="forbid")

    name: str
    times: int = Field(ge=ALWAYS)
    value: float | None = None
    endpoint: str | None = Field(default=None, description="acts only on endpoint ids that contain this text")
    path: str | None = Field(default=None, description="acts only on request paths that contain this text")
    chance: float = Field(default=1, gt=0, le=1, description="acts on this share of the occasions")

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in KNOWN:
            raise ValueError(f"no fault is called {name!r}; known: {', '.join(KNOWN)}")
        return name


class Faults:
    """The faults that are on now. Safe to change from any thread while the server runs."""

    def __init__(self, faults: "Faults | Mapping[str, Any] | Iterable[Fault] | None" = None) -> None:
        """From other faults, or a mapping in the form of `load`."""
        self._lock = threading.RLock()
        self._active: list[Fault] = []
        self._fired: Counter[str] = Counter()
        self._listeners: list[Callable[[], None]] = []
        self._random = random.Random(0)  # noqa: S311  (chaos that can be repeated, not a secret)
        if isinstance(faults, Mapping):
            self._active = [_from_json(name, value) for name, value in faults.items()]
        elif faults is not None:
            self._active = [fault.model_copy() for fault in faults]

    @classmethod
    def load(cls, path: Path) -> "Faults":
        """Read JSON or YAML: `{"lost_reply": 2, "listing_lag_seconds": {"value": 5}, "snap": true}`.

        Raises:
            ValueError: not such an object, or a name that is not in the table.
        """
        text = path.read_text(encoding="utf-8")
        try:
            data = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
        except yaml.YAMLError as error:
            raise ValueError(f"not YAML: {error}") from None
        if not isinstance(data, dict):
            raise ValueError("a faults file is one object whose keys are names of faults")
        return cls(data)

    def __iter__(self) -> Any:
        """Copies of those that still have times left."""
        with self._lock:
            return iter([fault.model_copy() for fault in self._active if fault.times])

    def add(
        self,
        name: str,
        times: int | None = None,
        *,
        value: float | None = None,
        endpoint: str | None = None,
        path: str | None = None,
        chance: float = 1,
    ) -> Fault:
        """Switch a fault on; what is not given comes from the table. Several of one name act one after
        another.

        Raises:
            ValueError: no such fault.
        """
        kind = KNOWN.get(name, FaultKind(""))
        fault = Fault(
            name=name,
            times=kind.times if times is None else times,
            value=kind.value if value is None else value,
            endpoint=endpoint,
            path=path,
            chance=chance,
        )
        with self._lock:
            self._active.append(fault)
        self._tell()
        return fault

    def replace(self, faults: Mapping[str, Any]) -> None:
        """Switch off everything and on what the mapping names (the form of `load`)."""
        active = [_from_json(name, value) for name, value in faults.items()]
        with self._lock:
            self._active = active
        self._tell()

    def clear(self, name: str | None = None) -> None:
        """Switch one fault off, or all of them."""
        with self._lock:
            self._active = [fault for fault in self._active if name is not None and fault.name != name]
        self._tell()

    def take(self, name: str, *, endpoint: str = "", path: str = "") -> Fault | None:
        """The fault if it is to act on this occasion; one of its times is used up."""
        with self._lock:
            fault = self._find(name, endpoint, path)
            if fault is None or (fault.chance < 1 and self._random.random() >= fault.chance):
                return None
            if fault.times > 0:
                fault.times -= 1
            self._fired[name] += 1
            return fault.model_copy()

    def value(self, name: str) -> float | None:
        """The value of a knob that is on, or None; nothing is used up."""
        with self._lock:
            fault = self._find(name, "", "")
            return None if fault is None else fault.value

    def fired(self, name: str) -> int:
        """How many times this fault has acted since the server started."""
        with self._lock:
            return self._fired[name]

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever something is switched on or off."""
        self._listeners.append(listener)

    def is_on(self, name: str) -> bool:
        """Whether a fault of this name is switched on and has times left."""
        with self._lock:
            return any(fault.name == name and fault.times for fault in self._active)

    def is_listed(self, name: str) -> bool:
        """Whether a fault of this name was added and not cleared, used up or not."""
        with self._lock:
            return any(fault.name == name for fault in self._active)

    def _find(self, name: str, endpoint: str, path: str) -> Fault | None:
        for fault in self._active:
            if (
                fault.name == name
                and fault.times
                and (not endpoint or fault.endpoint is None or fault.endpoint in endpoint)
                and (not path or fault.path is None or fault.path in path)
            ):
                return fault
        return None

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _from_json(name: str, value: object) -> Fault:
    kind = KNOWN.get(name, FaultKind(""))
    given: dict[str, Any] = {"times": kind.times, "value": kind.value}
    if isinstance(value, Mapping):
        given |= value
    elif isinstance(value, Fault):
        given = value.model_dump(exclude={"name"})
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # A bare number means what one would expect of the name: how often, or for a knob its setting.
        given["value" if kind.times == ALWAYS and kind.value is not None else "times"] = value
    elif value is False:
        given["times"] = 0
    elif value is not True and value is not None:
        raise ValueError(f"fault {name!r}: give true, a number or an object, not {type(value).__name__}")
    return Fault(name=name, **given)
