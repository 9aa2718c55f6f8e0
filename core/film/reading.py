"""Reading a storyboard from YAML, with every problem in it named by line, shot and field.

All problems are reported together and before anything is sent: those of the file, of the fields, of the endpoint's
own rules, of the cross-fades, and of pictures that are missing.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prefect_ltx.fal import MEDIA_KINDS
from prefect_ltx.film.errors import FilmInvalid, Problem, StoryboardInvalid
from prefect_ltx.film.requests import shot_problems
from prefect_ltx.film.storyboard import CastMember, Defaults, Location, Shot, Storyboard
from prefect_ltx.film.timeline import Timeline
from prefect_ltx.media import MediaError, probe

_LARGEST: Final = 1 << 20
_MOST_NODES: Final = 50_000
_SOURCES: Final = ("images", "image", "video")

Place = tuple[str | int, ...]


def load_storyboard(path: Path | str) -> Storyboard:
    """Read a storyboard file; its relative paths become absolute.

    Raises:
        StoryboardInvalid: with every problem found.
    """
    path = Path(path).expanduser().absolute()
    try:
        if path.stat().st_size > _LARGEST:
            raise StoryboardInvalid(path.name, [Problem("", "", "larger than 1 MB: this is no storyboard")])
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StoryboardInvalid(path.name, [Problem("", "", "not a text file in UTF-8")]) from None
    except OSError as error:
        raise StoryboardInvalid(path.name, [Problem("", "", error.strerror or "cannot be read")]) from None
    return read_storyboard(text, folder=path.parent, name=path.name)


def read_storyboard(
    source: str | Mapping[str, Any], *, folder: Path | None = None, name: str = "storyboard"
) -> Storyboard:
    """A storyboard from YAML text or from a mapping; relative paths are below `folder`, else as they are.

    Raises:
        StoryboardInvalid: with every problem found.
    """
    lines: dict[Place, int] = {}
    data: Any = source
    if isinstance(source, str):
        data, problems = _parsed(source, lines)
        if problems:
            raise StoryboardInvalid(name, problems)
    if not isinstance(data, Mapping):
        raise StoryboardInvalid(
            name, [Problem("", "", "a storyboard is a mapping with title, cast and shots")]
        )
    try:
        board = Storyboard.model_validate(_resolved(data, folder) if folder else data)
    except ValidationError as error:
        raise StoryboardInvalid(name, [_problem(each, data, lines) for each in _told(error)]) from None
    problems = [*_checked(board)]
    if problems:
        raise StoryboardInvalid(name, [_with_line(each, board, lines) for each in problems])
    return board


def _parsed(text: str, lines: dict[Place, int]) -> tuple[Any, list[Problem]]:
    problems: list[Problem] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return None, [Problem("", "", "the file is empty")]
        for nodes, (place, node, twice) in enumerate(_walk(root, ())):
            # Anchors can make a small file unfold into millions of nodes.
            if nodes > _MOST_NODES:
                return None, [Problem("", "", "too many parts: this is no storyboard")]
            line = node.start_mark.line + 1
            lines.setdefault(place, line)
            if twice:
                problems.append(Problem("", ".".join(map(str, place)), "is there twice", line))
        return (None if problems else yaml.safe_load(text)), problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = error.problem or error.context or "cannot be read"
        return None, [Problem("", "", f"not YAML: {told}", mark.line + 1 if mark else None)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [Problem("", "", f"not YAML: {' '.join(str(error).split())[:200]}")]


def _walk(node: yaml.Node, place: Place) -> Iterator[tuple[Place, yaml.Node, bool]]:
    yield place, node, False
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                yield (*place, name), key, True
            seen.add(name)
            yield (*place, name), key, False
            yield from _walk(value, (*place, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*place, index))


def _resolved(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    def file(value: Any) -> Any:
        if not isinstance(value, str) or not value.strip() or "://" in value or value.startswith("data:"):
            return value
        return str(folder / Path(value).expanduser())

    def settings(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        return {key: file(value) if key in MEDIA_KINDS else value for key, value in entry.items()}

    def part(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        found = {
            key: ([file(each) for each in value] if isinstance(value, list) else file(value))
            if key in _SOURCES
            else value
            for key, value in entry.items()
        }
        return found | ({"settings": settings(found["settings"])} if "settings" in found else {})

    found = dict(data)
    if "defaults" in found:
        found["defaults"] = part(found["defaults"])
    for group in ("cast", "locations"):
        if isinstance(found.get(group), Mapping):
            found[group] = {key: part(entry) for key, entry in found[group].items()}
    if isinstance(found.get("shots"), list):
        found["shots"] = [part(entry) for entry in found["shots"]]
    return found


def _checked(board: Storyboard) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, shot in enumerate(board.shots):
        where = f"shot {index + 1} ({shot.id})"
        if shot.id in seen:
            yield Problem(where, "id", f"shot {seen[shot.id] + 1} is called {shot.id!r} already")
        seen.setdefault(shot.id, index)
        yield from shot_problems(board, index)
    names = [(f"cast {key}", board.element(key).name) for key in board.cast]
    names += [(f"location {key}", board.place(key).name) for key in board.locations]
    told = {name.casefold(): where for where, name in reversed(names)}
    for where, name in names:
        if told[name.casefold()] != where:
            yield Problem(where, "name", f"{told[name.casefold()]} is called {name!r} already")
    yield from _crossfades(board)
    yield from _files(board)


def _crossfades(board: Storyboard) -> Iterator[Problem]:
    # Shot by shot with its neighbours, so that each problem is found and told where it is.
    for index, shot in enumerate(board.shots):
        after = board.overlap_of(index + 1) if index + 1 < len(board.shots) else 0
        before = board.overlap_of(index)
        try:
            if index == 0:
                Timeline.of(board.fps, [(shot.id, board.frames_of(shot), before)])
            if before + after >= board.frames_of(shot):
                raise FilmInvalid(
                    f"{before} and {after} frames are shared with its neighbours, and it has "
                    f"{board.frames_of(shot)}: at least one has to stand alone"
                )
        except FilmInvalid as error:
            yield Problem(f"shot {index + 1} ({shot.id})", "transition", str(error))


def _files(board: Storyboard) -> Iterator[Problem]:
    for key, member in board.cast.items():
        for place, source in enumerate(member.images):
            yield from _file(f"cast {key}", f"images.{place}", source, "image")
    for key, location in board.locations.items():
        yield from _file(f"location {key}", "image", location.image, "image")
    for index, shot in enumerate(board.shots):
        for field, kind in (("video", "video"), ("image", "image")):
            source = getattr(shot, field)
            if source is not None:
                yield from _file(f"shot {index + 1} ({shot.id})", field, source, kind)


def _file(where: str, field: str, source: str, kind: str) -> Iterator[Problem]:
    # What lies elsewhere is fetched and checked when the sheets are made, which is before anything is sent too.
    if urlsplit(source).scheme in ("http", "https", "s3", "data", "file"):
        return
    try:
        found = probe(source)
    except MediaError as error:
        yield Problem(where, field, str(error).rstrip("."))
        return
    if found.kind != kind:
        yield Problem(where, field, f"{Path(source).name} is {found.kind}, and {kind} is needed")


_MODELS: Final[dict[str, type[BaseModel]]] = {
    "": Storyboard,
    "cast": CastMember,
    "locations": Location,
    "shots": Shot,
    "defaults": Defaults,
}


def _told(error: ValidationError) -> list[ErrorDetails]:
    """One complaint a field: of a choice between forms, the one that fits what was written."""
    chosen: dict[Place, ErrorDetails] = {}
    for each in error.errors(include_url=False, include_context=False):
        place = _plain(each["loc"])
        if place not in chosen or isinstance(each["input"], Mapping) == (each["type"] != "literal_error"):
            chosen[place] = each
    return list(chosen.values())


def _problem(detail: ErrorDetails, data: Mapping[str, Any], lines: Mapping[Place, int]) -> Problem:
    place = _plain(detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    field = place[2:] if len(place) > 1 and place[0] in ("shots", "cast", "locations") else place
    if detail["type"] == "extra_forbidden":
        group = str(place[0]) if len(place) > 1 else ""
        known = _MODELS.get(group, Storyboard).model_fields
        close = difflib.get_close_matches(str(place[-1]), list(known), n=1)
        message = f"no such field; did you mean {close[0]}?" if close else "no such field"
    elif detail["type"] == "missing":
        message = "is missing"
    return Problem(_where(place, data), ".".join(map(str, field)), message, _line(place, lines))


def _plain(loc: tuple[str | int, ...]) -> Place:
    """A place in the file: pydantic adds the names of the forms it tried."""
    forms = ("CrossFade", "ImageSize", "literal[", "[key]")
    return tuple(part for part in loc if not str(part).startswith(forms))


def _where(place: Place, data: Mapping[str, Any]) -> str:
    if len(place) < 2 or place[0] not in ("shots", "cast", "locations"):
        return ""
    if place[0] != "shots":
        return f"{'location' if place[0] == 'locations' else 'cast'} {place[1]}"
    index = int(place[1])
    shots = data.get("shots")
    entry = shots[index] if isinstance(shots, list) and index < len(shots) else None
    name = entry.get("id") if isinstance(entry, Mapping) else None
    return f"shot {index + 1} ({name})" if isinstance(name, str) else f"shot {index + 1}"


def _with_line(problem: Problem, board: Storyboard, lines: Mapping[Place, int]) -> Problem:
    kind, _, name = problem.where.partition(" ")
    fields = tuple(int(part) if part.isdigit() else part for part in problem.field.split("."))
    group = {"shot": "shots", "cast": "cast", "location": "locations"}.get(kind)
    if group is None:
        return problem._replace(line=_line(fields, lines))
    key: str | int = int(name.partition(" ")[0]) - 1 if kind == "shot" else name
    return problem._replace(line=_line((group, key, *fields), lines))


def _line(place: Place, lines: Mapping[Place, int]) -> int | None:
    """The line of a place, or of the nearest thing around it that is written down."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place)
