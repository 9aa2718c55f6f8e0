"""What the embedded fal is told to do wrong; `fault_table` names every knob.

A fault is switched on in process (`fal.faults.add("lost_reply")`), by a JSON file at start, or over HTTP
under `/_local/faults`. It acts `times` times (-1: always) on what its `endpoint` and `path` filters let
through.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from prefect_ltx.local.fault_table import ALWAYS, KNOWN, FaultKind, ReplyKind, Route
from prefect_ltx.reading import Unreadable, read_bytes, read_json, read_yaml, text_of

_NOT_GIVEN: Final = object()


class Fault(BaseModel):
    """One fault that is switched on. `times` counts down to 0; -1 never does.

    Which of the last five a knob reads is in the table; what it does not read is refused.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    times: int = Field(ge=ALWAYS)
    value: float | None = None
    endpoint: str | None = Field(default=None, description="acts only on endpoint ids that contain this text")
    path: str | None = Field(default=None, description="acts only on request paths that contain this text")
    chance: float = Field(default=1, gt=0, le=1, description="acts on this share of the occasions")
    route: Route | None = Field(default=None, description="acts only on questions of this kind")
    reply: ReplyKind | None = Field(default=None, description="what comes instead of fal's answer")
    after: bool | None = Field(default=None, description="fal acts first, and its answer is replaced")
    field: str | None = Field(default=None, description="a place in an answer, with dots: video.file_size")
    to: Any = Field(default=None, description="what stands there instead; not given: the field is missing")

    _held: dict[str, bool] = PrivateAttr(default_factory=dict)
    """The generations that `Faults.holding` asked about, and whether it acts on them."""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in KNOWN:
            raise ValueError(f"no fault is called {name!r}; known: {', '.join(KNOWN)}")
        return name

    @model_validator(mode="after")
    def _takes_what_is_given(self) -> "Fault":
        reads = KNOWN[self.name].reads
        for name in ("route", "reply", "after", "field", "to"):
            if name in self.model_fields_set and name not in reads:
                raise ValueError(f"{self.name} does not take {name}; it takes: {', '.join(reads) or 'none'}")
        return self

    @property
    def removes(self) -> bool:
        """Whether the field is to be missing, which is not the same as null."""
        return "to" not in self.model_fields_set


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
        try:
            text = text_of(read_bytes(path).data)
            document = read_yaml(text) if path.suffix in (".yaml", ".yml") else read_json(text)
            document.refuse_faults()
        except Unreadable as error:
            raise ValueError(str(error)) from None
        data = document.value
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
        route: Route | None = None,
        reply: ReplyKind | None = None,
        after: bool | None = None,
        field: str | None = None,
        to: Any = _NOT_GIVEN,
    ) -> Fault:
        """Switch a fault on; what is not given comes from the table. Several of one name act one after
        another. With `field` and without `to` the field is missing; `to=None` makes it null.

        Raises:
            ValueError: no such fault, or one that does not take what was given.
        """
        kind = KNOWN.get(name, FaultKind(""))
        further = {"route": route, "reply": reply, "after": after, "field": field}
        fault = Fault(
            name=name,
            times=kind.times if times is None else times,
            value=kind.value if value is None else value,
            endpoint=endpoint,
            path=path,
            chance=chance,
            **{key: given for key, given in further.items() if given is not None},
            **({} if to is _NOT_GIVEN else {"to": to}),
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

    def take(
        self, name: str, *, endpoint: str = "", path: str = "", route: Route | None = None
    ) -> Fault | None:
        """The fault if it is to act on this occasion; one of its times is used up."""
        with self._lock:
            fault = self._find(name, endpoint, path, route)
            if fault is None or not self._chances(fault):
                return None
            if fault.times > 0:
                fault.times -= 1
            self._fired[name] += 1
            return fault.model_copy()

    def holding(self, names: tuple[str, ...], request_id: str, *, endpoint: str = "") -> list[Fault]:
        """All faults of these names that act on this generation: the first `times` generations that are asked
        about, and on those for as long as the fault is not cleared, wherever they are read."""
        with self._lock:
            found = []
            for fault in self._active:
                if fault.name not in names or not (fault.endpoint is None or fault.endpoint in endpoint):
                    continue
                if request_id not in fault._held and fault.times:
                    acts = self._chances(fault)
                    fault._held[request_id] = acts
                    fault.times -= acts and fault.times > 0
                    self._fired[fault.name] += acts
                if fault._held.get(request_id):
                    found.append(fault.model_copy())
            return found

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

    def _chances(self, fault: Fault) -> bool:
        return fault.chance >= 1 or self._random.random() < fault.chance

    def _find(self, name: str, endpoint: str, path: str, route: Route | None = None) -> Fault | None:
        for fault in self._active:
            if (
                fault.name == name
                and fault.times
                and (not endpoint or fault.endpoint is None or fault.endpoint in endpoint)
                and (not path or fault.path is None or fault.path in path)
                and (route is None or fault.route in (None, route))
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
        given = value.model_dump(exclude={"name"}, exclude_unset=True)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # A bare number means what one would expect of the name: how often, or for a knob its setting.
        given["value" if kind.times == ALWAYS and kind.value is not None else "times"] = value
    elif value is False:
        given["times"] = 0
    elif value is not True and value is not None:
        raise ValueError(f"fault {name!r}: give true, a number or an object, not {type(value).__name__}")
    return Fault(name=name, **given)
