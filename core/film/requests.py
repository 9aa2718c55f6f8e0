"""From a storyboard's shot to the endpoint's request: its sheet's pictures, its prompt, its fields."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from prefect_ltx.fal import FalRequestInvalid, GenerationRequest, parse_request
from prefect_ltx.film.errors import Problem
from prefect_ltx.film.storyboard import Shot, Storyboard
from prefect_ltx.sheets import (
    MOST_PANELS,
    Element,
    SheetError,
    SheetImage,
    SheetInvalid,
    arrange,
    compose_prompt,
    describe_shot,
    sheet_size,
)

_OWN_FIELDS: Final = {
    "prompt": "text",
    "num_frames": "frames",
    "seed": "seed",
    "image_url": "image",
    "video_url": "video",
    "resolution": "resolution",
    "frames_per_second": "frames_per_second",
    "generate_audio": "audio",
    "sync_mode": "settings.sync_mode",
}
"""The endpoint's fields that a storyboard has under names of its own."""
_KEYFRAMES: Final = {"mid_image_url": "mid_image", "end_image_url": "end_image"}
"""Those that may stand in `settings` as well, where earlier storyboards have them."""
_FROM_VIDEO: Final = ("video", "image", "start_from", "mid_image", "end_image")
"""Fields of a shot that is made from a reference video."""


class SheetPlan(NamedTuple):
    """What stands on a shot's sheet: pictures in order, with their role, and the elements of the prompt."""

    images: tuple[tuple[str, str], ...]
    """(source, role) of each picture; role as in `SheetImage`."""
    elements: tuple[Element, ...]


def sheet_plan(board: Storyboard, shot: Shot) -> SheetPlan | None:
    """What a shot's sheet shows; None for a shot that is made from a reference video."""
    if not board.model_of(shot).SHEET_FIELD:
        return None
    keys = [*board.cast] if board.sheet == "shared" else board.cast_of(shot)
    images = [(source, "subject") for key in keys for source in board.cast[key].images]
    elements = [board.element(key) for key in keys]
    if shot.location is not None:
        images.append((board.locations[shot.location].image, "location"))
        elements.append(board.place(shot.location))
    return SheetPlan(tuple(images), tuple(elements))


def sheet_canvas(board: Storyboard) -> tuple[int, int]:
    """(width, height) of the film's sheets."""
    return sheet_size(*board.size)


def shot_request(
    board: Storyboard, shot: Shot, sheet: str | None, start: str | None = None
) -> GenerationRequest:
    """The request for a shot; `sheet` is where its sheet lies, `start` the last frame of the shot it starts from.

    Raises:
        FalRequestInvalid: a field is refused by the endpoint's own rules.
        SheetError: the texts cannot be a prompt.
    """
    settings = {**board.defaults.settings, **shot.settings}
    plan = sheet_plan(board, shot)
    data: dict[str, Any] = {
        "num_frames": board.frames_of(shot),
        "seed": board.seed_of(shot),
        "resolution": board.resolution,
        "frames_per_second": board.frames_per_second,
        "generate_audio": board.audio,
    }
    if plan is not None:
        data["prompt"] = compose_prompt(plan.elements, shot.described(), style=board.style)
        data["enable_prompt_expansion"] = False
        data[board.model_of(shot).SHEET_FIELD] = sheet
    else:
        data["prompt"] = describe_shot(shot.described(), style=board.style)
        data["video_url"] = shot.video
        data["image_url"] = start if shot.start_from is not None else shot.image
        data |= {
            field: picture
            for field, name in _KEYFRAMES.items()
            if (picture := getattr(shot, name)) is not None
        }
    own = sorted(set(settings) & (set(_OWN_FIELDS) | ({"enable_prompt_expansion"} if plan else set())))
    if own:
        named = ", ".join(f"{name} is {_OWN_FIELDS.get(name, 'always off with a sheet')}" for name in own)
        raise FalRequestInvalid(f"settings: the storyboard has fields of its own for these: {named}")
    return parse_request(settings | data, board.endpoint_of(shot))


def shot_problems(board: Storyboard, index: int) -> list[Problem]:
    """What is wrong with one shot beyond the types of its fields. Reads no file."""
    shot = board.shots[index]
    where = f"shot {index + 1} ({shot.id})"
    found = [
        Problem(where, "cast", f"there is no {key!r} in the cast; it has {', '.join(board.cast) or 'nobody'}")
        for key in shot.cast or []
        if key not in board.cast
    ]
    if shot.location is not None and shot.location not in board.locations:
        known = ", ".join(board.locations) or "none"
        found.append(
            Problem(where, "location", f"there is no location {shot.location!r}; there are: {known}")
        )
    kind = board.endpoint_of(shot)
    has_sheet = bool(board.model_of(shot).SHEET_FIELD)
    if not has_sheet and shot.video is None:
        found.append(Problem(where, "video", f"{kind} needs a reference video"))
    if has_sheet:
        found += [
            Problem(where, field, "belongs to reference-video-to-video; this shot is made from a sheet")
            for field in _FROM_VIDEO
            if getattr(shot, field) is not None
        ]
    if shot.start_from is not None and shot.image is not None:
        found.append(
            Problem(where, "image", "start_from names the first picture already; give one of the two")
        )
    if shot.start_from is not None:
        found += _start_problems(board, shot, where)
    found += _words_and_voice(board, shot, where)
    if found:
        return found
    plan = sheet_plan(board, shot)
    try:
        if plan is not None:
            if not plan.images:
                raise SheetInvalid("its sheet would be empty: name who is in it under cast, or a location")
            # Shapes are not known yet; the number of pictures is what can be wrong here.
            width, height = sheet_canvas(board)
            arrange([(1, 1)] * len(plan.images), width=width, height=height)
        shot_request(board, shot, "sheet.png" if plan is not None else None, "start.png")
    except SheetError as error:
        field = "cast" if isinstance(error, SheetInvalid) else "text"
        found.append(Problem(where, field, str(error)))
    except FalRequestInvalid as error:
        found += [Problem(where, _field(each.loc), each.msg) for each in error.fields] or [
            Problem(where, "settings", error.what.removeprefix("settings: "))
        ]
    return found


def _words_and_voice(board: Storyboard, shot: Shot, where: str) -> Iterator[Problem]:
    frames = board.frames_of(shot)
    for place, words in enumerate(shot.subtitles):
        if words.at >= frames:
            yield Problem(
                where, f"subtitles.{place}.at", f"the shot has {frames} frames, from 0 to {frames - 1}"
            )
        elif words.until is not None and words.until <= words.at:
            yield Problem(where, f"subtitles.{place}.until", f"must be above {words.at}, where they appear")
    voice = shot.voice_over
    if voice is not None and voice.at >= frames:
        yield Problem(where, "voice.at", f"the shot has {frames} frames, from 0 to {frames - 1}")


def _start_problems(board: Storyboard, shot: Shot, where: str) -> list[Problem]:
    by_id = {each.id: each for each in board.shots}
    if shot.start_from not in by_id:
        return [
            Problem(
                where, "start_from", f"there is no shot {shot.start_from!r}; there are: {', '.join(by_id)}"
            )
        ]
    path = [shot.id]
    while (follows := by_id[path[-1]].start_from) in by_id:
        assert follows is not None
        path.append(follows)
        if follows == shot.id:
            told = " starts from ".join(path)
            return [Problem(where, "start_from", f"in a circle no shot is the first to be made: {told}")]
        if follows in path[:-1]:
            return []  # a circle that it only hangs on is told where it is
    return []


def shot_warnings(board: Storyboard, shot: Shot) -> list[str]:
    """What speaks against a shot without being wrong."""
    plan = sheet_plan(board, shot)
    if plan is not None and len(plan.images) > MOST_PANELS:
        return [f"{len(plan.images)} pictures on its sheet: above {MOST_PANELS} the model loses identities."]
    return []


def sheet_images(plan: SheetPlan, local: dict[str, Any]) -> list[SheetImage]:
    """The plan's pictures as local files; `local` gives the path of each source."""
    return [SheetImage.model_validate({"path": local[source], "role": role}) for source, role in plan.images]


def _field(loc: tuple[str | int, ...]) -> str:
    first, *rest = (str(part) for part in loc)
    name = _OWN_FIELDS.get(first) or _KEYFRAMES.get(first) or f"settings.{first}"
    return ".".join([name, *rest])
