"""YAML, strictly: built from the parser's events, so that its size, depth and aliases are bounded while it is read.

No name twice, one document, no tags but those of plain values. What YAML 1.1 reads as another number or moment than
people write (`010`, `1:30`, `0x1F`) is refused or stays text. Aliases and merge keys are understood.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from prefect_ltx.fal.sendable import DEEPEST, why_not_number, why_not_text
from prefect_ltx.reading.document import Document, why_shortened
from prefect_ltx.reading.json_text import read_json
from prefect_ltx.reading.problems import Fault, Path, Place, Unreadable
from prefect_ltx.reading.texts import check_text, place_of

MOST_CHARACTERS: Final = 8 << 20
MOST_VALUES: Final = 500_000
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_FRACTION: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.?[0-9_]*(?:[eE][-+]?[0-9]+)?")
_LONGEST_WHOLE: Final = 20
_YES: Final = frozenset({"yes", "true", "on"})
_resolver: Final[Any] = yaml.resolver.Resolver()


@dataclass
class _Part:
    """A list or mapping that is being read, or the document itself."""

    path: Path
    place: Place
    value: Any
    name: str | None = None
    """In a mapping: the name whose value comes next."""
    merging: bool = False
    """In a mapping: whether what comes next is merged into it (`<<`)."""
    merged: list[tuple[Any, Place]] = field(default_factory=list)
    anchor: str | None = None
    parts: int = 1
    deepest: int = 0
    """How many levels are below it."""


@dataclass(frozen=True)
class _Anchored:
    value: Any
    parts: int
    deepest: int


def read_yaml(text: str, *, most: int = MOST_VALUES, aliases: bool = True) -> Document:
    """The document in `text`, at most `most` values of it; JSON is read as JSON. An empty text is None.

    Args:
        text: what was written.
        most: how many values it may have, each alias counted with all that it stands for.
        aliases: whether `*name` is understood; where it is not, it is refused.

    Raises:
        Unreadable: it is not YAML, or too deeply nested or too large to be anything of ours.
    """
    check_text(text)
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(f"YAML of more than {MOST_CHARACTERS >> 20} MB is not read: write JSONL")
    # YAML 1.1 takes these for line breaks, and would make a space of them.
    if found := re.search("[\x85\u2028\u2029]", text):
        place = place_of(text, found.start())
        raise Unreadable(
            f"U+{ord(found[0]):04X} is a line break for YAML: remove it, or write it as an escape", place
        )
    if text.lstrip()[:1] in ("{", "["):
        try:
            return read_json(text)
        except Unreadable as error:
            if not error.what.startswith("not JSON"):
                raise
    reader = _Reader(most, aliases=aliases)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # What is not closed is found at the end of the text, and was opened where its context is.
        if mark and error.context_mark and mark.index >= len(text.rstrip()):
            mark = error.context_mark
        at = Place(mark.line + 1, mark.column + 1) if mark else None
        what = str(error.problem or error.context)
        if "Unicode character escape" in what:
            what = (
                "\\u names half a character or none, as an emoji that was cut in two leaves it: write it anew"
            )
            raise Unreadable(what, at) from None
        raise Unreadable(f"not YAML: {what}", at) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not YAML ({type(error).__name__})") from None
    return Document(reader.value, reader.faults, lambda: reader.places)


class _Reader:
    def __init__(self, most: int, *, aliases: bool) -> None:
        self.value: Any = None
        self.faults: list[Fault] = []
        self.places: dict[Path, Place] = {}
        self._most = most
        self._aliases = aliases
        self._parts = 0
        self._documents = 0
        self._open: list[_Part] = []
        self._anchors: dict[str, _Anchored] = {}

    def take(self, event: Any) -> None:
        """The parser's next event."""
        place = (
            Place(event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else Place(1)
        )
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise Unreadable("there is more than one document in it (---): one is read", place)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                mapping = isinstance(event, yaml.MappingStartEvent)
                self._check_tag(event.tag, "map" if mapping else "seq", place)
                self._count(1, place)
                if len(self._open) >= DEEPEST:
                    raise Unreadable(f"it is nested deeper than {DEEPEST} levels", place)
                if self._awaits_name():
                    raise Unreadable("a name has to be a plain text", place)
                part = _Part(self._next_path(), place, {} if mapping else [], anchor=event.anchor)
                self.places.setdefault(part.path, place)
                self._open.append(part)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                part = self._open.pop()
                self._merge(part)
                if part.anchor:
                    self._anchors[part.anchor] = _Anchored(part.value, part.parts, part.deepest)
                self._add(part.value, part.place, part.parts, part.deepest)
            case yaml.AliasEvent():
                self._alias(str(event.anchor), place)
            case yaml.ScalarEvent():
                self._scalar(event, place)

    def _alias(self, anchor: str, place: Place) -> None:
        if not self._aliases:
            raise Unreadable(
                f"it uses aliases (*{anchor[:40]}), which are not read here: write it out", place
            )
        found = self._anchors.get(anchor)
        if found is None:
            raise Unreadable(f"*{anchor[:40]} names nothing that is complete before it", place)
        if self._awaits_name():
            raise Unreadable("a name has to be a plain text", place)
        self._count(found.parts, place)
        if len(self._open) + found.deepest > DEEPEST:
            raise Unreadable(f"it is nested deeper than {DEEPEST} levels", place)
        self._add(found.value, place, found.parts, found.deepest)

    def _scalar(self, event: Any, place: Place) -> None:
        self._count(1, place)
        if self._awaits_name():
            self._check_tag(event.tag, "str", place)
            part = self._open[-1]
            name = event.value
            if name == "<<" and event.implicit[0]:
                part.name, part.merging = name, True
                return
            path = (*part.path, name)
            if why := why_not_text(name):
                self.faults.append(Fault(part.path, f"a name in it: {why}", place))
            elif name in part.value:
                self.faults.append(Fault(path, "is there twice; one of them has to go", place))
            self.places.setdefault(path, place)
            part.name = name
            return
        value = self._value(event, place)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, 1, 0)
        self._add(value, place, 1, 0)

    def _value(self, event: Any, place: Place) -> Any:
        path, text = self._next_path(), event.value
        tag = event.tag
        if tag is None or tag == "!":
            tag = _resolver.resolve(yaml.ScalarNode, text, event.implicit)
        kind = tag.removeprefix(_TAG)
        if kind in ("str", "timestamp", "value", "merge"):
            if why := why_not_text(text):
                self.faults.append(Fault(path, why, place))
            return text
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in _YES | {"no", "false", "off"}:
            return text.lower() in _YES
        if kind in ("int", "float"):
            value, why = _number(kind, text, path)
            if why:
                self.faults.append(Fault(path, why, place))
            return value
        raise Unreadable(f"not YAML that is read here: the tag {tag[:60]}; write a plain value", place)

    def _check_tag(self, tag: str | None, kind: str, place: Place) -> None:
        if tag not in (None, "!", _TAG + kind):
            raise Unreadable(
                f"not YAML that is read here: the tag {str(tag)[:60]}; write a plain value", place
            )

    def _merge(self, part: _Part) -> None:
        """What `<<` brings in, beneath the mapping's own names: of several the first one counts."""
        for value, place in part.merged:
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, dict):
                    self.faults.append(Fault(part.path, "<< takes a mapping, or a list of mappings", place))
                    continue
                self._count(len(each), place)
                part.parts += len(each)
                for name, inner in each.items():
                    part.value.setdefault(name, inner)

    def _add(self, value: Any, place: Place, parts: int, deepest: int) -> None:
        if not self._open:
            self.value = value
            return
        around = self._open[-1]
        around.parts += parts
        around.deepest = max(around.deepest, deepest + (1 if isinstance(value, (dict, list)) else 0))
        if isinstance(around.value, list):
            self.places.setdefault((*around.path, len(around.value)), place)
            around.value.append(value)
        elif around.merging:
            if around.merged:
                self.faults.append(Fault(around.path, "<< is there twice: write <<: [*one, *other]", place))
            around.merged.append((value, place))
            around.name, around.merging = None, False
        else:
            around.value[around.name] = value
            around.name = None

    def _awaits_name(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].name is None

    def _next_path(self) -> Path:
        if not self._open:
            return ()
        around = self._open[-1]
        if isinstance(around.value, list):
            return (*around.path, len(around.value))
        return (*around.path, around.name or "")

    def _count(self, parts: int, place: Place) -> None:
        self._parts += parts
        if self._parts > self._most:
            raise Unreadable(
                f"too many parts: more than {self._most:,} values, each alias counted with all that it stands for",
                place,
            )


def _number(kind: str, text: str, path: Path) -> tuple[int | float | None, str]:
    """A number, or None and why it is not taken."""
    shown = text[:40]
    if kind == "int":
        if not _DECIMAL.fullmatch(text):
            return None, _other_notation(shown)
        digits = text.replace("_", "")
        if len(digits) > _LONGEST_WHOLE:
            return None, why_not_number(10**20) + f"; this one has {len(digits)} digits"
        return int(digits), why_not_number(int(digits))
    if not _FRACTION.fullmatch(text) or not any(map(str.isdigit, text)):
        return None, f"{shown} is no number that can be sent; in quotes it is a text"
    value = float(text.replace("_", ""))
    if why := why_not_number(value):
        return None, why
    exponent = "e" in text.lower()
    if value.is_integer() and exponent and (why := why_shortened(path, text, value)):
        return None, why
    if value.is_integer() and not exponent and abs(value) >= 2**53:
        return None, f"{shown} is not exact with a decimal point: write its digits alone"
    return value, ""


def _other_notation(text: str) -> str:
    if re.fullmatch(r"[-+]?0[0-7_]+", text):
        octal = int(text.replace("_", ""), 8)
        meant = text.replace("_", "").lstrip("+-").lstrip("0") or "0"
        return (
            f"{text} is {octal} for YAML, which reads a leading zero as octal: write {octal} or {meant}, or quotes "
            "around a text"
        )
    return f"{text} is read by YAML as another number than it looks: write decimal digits, or quotes around a text"
