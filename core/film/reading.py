"""Reading a storyboard from YAML, with every problem in it named by line, shot and field.

All problems are reported together and before anything is sent: those of the file, of the fields, of the endpoint's
own rules, of the cross-fades, and of pictures that are missing.
"""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prefect_ltx.fal import MEDIA_KINDS
from prefect_ltx.fal.sendable import is_blank, unsendable
from prefect_ltx.film.errors import FilmInvalid, Problem, StoryboardInvalid
from prefect_ltx.film.requests import shot_problems
from prefect_ltx.film.storyboard import CastMember, Defaults, Location, Shot, Storyboard
from prefect_ltx.film.timeline import Timeline
from prefect_ltx.media import MediaError, probe
from prefect_ltx.reading import Document, Fault, Unreadable, placed, read_bytes, read_yaml, text_of
from prefect_ltx.reading import Place as InFile

_LARGEST: Final = 1 << 20
_MOST_NODES: Final = 50_000
_SOURCES: Final = ("images", "image", "video", "mid_image", "end_image", "voice", "file", "font")

Place = tuple[str | int, ...]


def load_storyboard(path: Path | str) -> Storyboard:
    """Read a storyboard: a file, `s3://bucket/key` or `https://…`; its relative paths become absolute.

    Raises:
        StoryboardInvalid: with every problem found.
    """
    try:
        source = read_bytes(path, most=_LARGEST)
        text = text_of(source.data)
    except Unreadable as error:
        name = str(path).partition("?")[0].replace("\\", "/").rpartition("/")[2]
        line = error.place.line if error.place else None
        raise StoryboardInvalid(name or "storyboard", [Problem("", "", error.what, line)]) from None
    return read_storyboard(text, folder=source.folder, name=source.name)


def read_storyboard(
    source: str | Mapping[str, Any], *, folder: Path | str | None = None, name: str = "storyboard"
) -> Storyboard:
    """A storyboard from YAML text or from a mapping; relative paths are below `folder`, else as they are.

    Raises:
        StoryboardInvalid: with every problem found.
    """
    document = _parsed(source, name)
    data = document.value
    if not isinstance(data, Mapping):
        raise StoryboardInvalid(
            name, [Problem("", "", "a storyboard is a mapping with title, cast and shots")]
        )
    problems: list[Problem] = []
    try:
        board = Storyboard.model_validate(_resolved(data, folder))
    except ValidationError as error:
        problems = [_problem(each, data, document) for each in _told(error)]
    except Unreadable as error:
        problems = [Problem("", "", error.what)]
    if problems:
        raise StoryboardInvalid(name, problems)
    problems = [*_checked(board)]
    if problems:
        raise StoryboardInvalid(name, [_with_line(each, board, document) for each in problems])
    return board


def standalone_storyboard(source: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The title of a storyboard (YAML text or a mapping), and its content with absolute paths, for a file of our own.

    Raises:
        StoryboardInvalid: it cannot be read, or is too large. Nothing was sent or spent.
    """
    document = _parsed(source, "storyboard")
    if not isinstance(document.value, Mapping):
        raise StoryboardInvalid(
            "storyboard", [Problem("", "", "a storyboard is a mapping with title and shots")]
        )
    try:
        found = _resolved(document.value, Path.cwd())
    except Unreadable as error:
        raise StoryboardInvalid("storyboard", [Problem("", "", error.what)]) from None
    return str(found.get("title") or "film"), found


def _parsed(source: str | Mapping[str, Any], name: str) -> Document:
    if not isinstance(source, str):
        found = [Fault(path, what) for path, what in unsendable(source)]
        document = Document(source, found)
    else:
        try:
            document = read_yaml(source, most=_MOST_NODES)
        except Unreadable as error:
            line = error.place.line if error.place else None
            raise StoryboardInvalid(name, [Problem("", "", error.what, line)]) from None
        if document.value is None:
            raise StoryboardInvalid(name, [Problem("", "", "the file is empty")])
    if document.faults:
        problems = [
            _with_place(Problem(*_named(each.path, document.value), each.what), each.place)
            for each in document.told()
        ]
        raise StoryboardInvalid(name, problems)
    return document


def _named(path: Place, data: Any) -> tuple[str, str]:
    """Where in a storyboard a path leads, and the field there."""
    grouped = len(path) > 1 and path[0] in ("shots", "cast", "locations")
    where = _where(path, data) if grouped and isinstance(data, Mapping) else ""
    return where, ".".join(map(str, path[2:] if where else path))


def _with_place(problem: Problem, place: InFile | None) -> Problem:
    return problem if place is None else problem._replace(line=place.line, column=place.column)


def _resolved(data: Mapping[str, Any], folder: Path | str | None) -> dict[str, Any]:
    def file(value: Any) -> Any:
        return placed(value, folder) if isinstance(value, str) and not is_blank(value) else value

    def settings(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        return {key: file(value) if key in MEDIA_KINDS else value for key, value in entry.items()}

    def part(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        found = {
            key: (
                [file(each) for each in value]
                if isinstance(value, list)
                else part(value)
                if isinstance(value, Mapping)
                else file(value)
            )
            if key in _SOURCES
            else value
            for key, value in entry.items()
        }
        return found | ({"settings": settings(found["settings"])} if "settings" in found else {})

    found = dict(data)
    for name in ("defaults", "music", "subtitles"):
        if name in found:
            found[name] = part(found[name])
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
        for field, kind in (
            ("video", "video"),
            ("image", "image"),
            ("mid_image", "image"),
            ("end_image", "image"),
        ):
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


def _problem(detail: ErrorDetails, data: Mapping[str, Any], document: Document) -> Problem:
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
    found = Problem(_where(place, data), ".".join(map(str, field)), message)
    return _with_place(found, document.place(place))


def _plain(loc: tuple[str | int, ...]) -> Place:
    """A place in the file: pydantic adds the names of the forms it tried."""
    forms = ("CrossFade", "ImageSize", "Voice", "function-after[", "literal[", "[key]")
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


def _with_line(problem: Problem, board: Storyboard, document: Document) -> Problem:
    kind, _, name = problem.where.partition(" ")
    fields = tuple(
        int(part) if part.isdecimal() and len(part) < 9 else part for part in problem.field.split(".")
    )
    group = {"shot": "shots", "cast": "cast", "location": "locations"}.get(kind)
    if group is None:
        return _with_place(problem, document.place(fields))
    key: str | int = int(name.partition(" ")[0]) - 1 if kind == "shot" else name
    return _with_place(problem, document.place((group, key, *fields)))
