"""The prompt that the ingredient endpoint was trained on: what is on the sheet, then what happens.

A name is bound to a look in the first part, and the second part uses the same words at the name's first
mention, so that the model knows whom it means. fal's prompt expansion was seen to rewrite this structure away
(ltx-model §2), so it is off for composed prompts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from prefect_ltx.sheets.errors import PromptInvalid

ANTI_COLLAGE: Final = (
    "One single continuous cinematic shot that fills the frame, never a reference sheet, never split panels."
)
_RESERVED: Final = re.compile(r"(reference\s+sheet|generated\s+video)\s*:", re.IGNORECASE)
_END: Final = tuple(".!?…\"'”’")


def _plain(text: str) -> str:
    return " ".join(text.split())


Text = Annotated[str, AfterValidator(_plain)]


class Element(BaseModel):
    """Something on the sheet: a name, how it looks, and what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text = Field(min_length=1, description="The name that the shots use, such as Mara.")
    look: Text = Field(
        min_length=1, description="Concrete looks: age, hair, clothes, material, colour; no story."
    )
    kind: Literal["character", "prop", "location"] = "character"


class Line(BaseModel):
    """A line of dialogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speaker: Text = Field(min_length=1)
    text: Text = Field(min_length=1)


class ShotDescription(BaseModel):
    """What happens in one shot: one or two beats, one camera move, explicit light, dialogue and sound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Text = Field(min_length=1, description="What happens, in the present tense.")
    camera: Text = ""
    light: Text = ""
    dialogue: tuple[Line, ...] = ()
    sound: Text = ""


def compose_prompt(
    elements: Sequence[Element | Mapping[str, Any]],
    shot: ShotDescription | Mapping[str, Any] | str,
    *,
    style: str = "",
) -> str:
    """`Reference sheet: …` and, after a blank line, `Generated video: …`.

    `elements` are all things on the sheet and nothing else, in the sheet's order; a `Mapping` has the fields of
    `Element`. `style` opens the second part. Send it with expansion off: `composed_fields` does both.

    Raises:
        PromptInvalid: no elements, a name twice, or a text that contains one of the two headings itself.
    """
    known = [each if isinstance(each, Element) else Element.model_validate(each) for each in elements]
    if not known:
        raise PromptInvalid("a prompt for a reference sheet needs at least one element")
    names = [each.name.casefold() for each in known]
    twice = sorted({each.name for each in known if names.count(each.name.casefold()) > 1})
    if twice:
        raise PromptInvalid(f"two elements are called {', '.join(twice)}")
    sheet = "; ".join(_listed(each) for each in known)
    video = " ".join([_bound(describe_shot(shot, style=style), known), ANTI_COLLAGE])
    return f"Reference sheet: {_checked(sheet, 'the elements')}.\n\nGenerated video: {video}"


def composed_fields(
    elements: Sequence[Element | Mapping[str, Any]],
    shot: ShotDescription | Mapping[str, Any] | str,
    *,
    style: str = "",
) -> dict[str, Any]:
    """The request's fields for a composed prompt: `prompt`, and `enable_prompt_expansion` false.

    Raises:
        PromptInvalid: see `compose_prompt`.
    """
    return {"prompt": compose_prompt(elements, shot, style=style), "enable_prompt_expansion": False}


def describe_shot(shot: ShotDescription | Mapping[str, Any] | str, *, style: str = "") -> str:
    """A shot as one paragraph: style, action, camera, light, dialogue with speaker, sound.

    Raises:
        PromptInvalid: it contains one of the two headings.
    """
    if isinstance(shot, str):
        shot = ShotDescription(text=shot)
    elif isinstance(shot, Mapping):
        shot = ShotDescription.model_validate(shot)
    spoken = [f'{line.speaker} says: "{line.text}"' for line in shot.dialogue]
    parts = [_plain(style), shot.text, shot.camera, shot.light, *spoken, shot.sound]
    return _checked(" ".join(_sentence(part) for part in parts if part), "the shot")


def _listed(element: Element) -> str:
    # The full stop ends the whole list.
    named = f"{element.name}, {element.look.rstrip('. ')}"
    return f"the location: {named}" if element.kind == "location" else named


def _bound(text: str, elements: Iterable[Element]) -> str:
    """Each name's first mention followed by its look; a possessive is left alone, it reads worse than it binds."""
    places: list[tuple[int, str]] = []
    for element in elements:
        found = re.search(rf"(?<!\w){re.escape(element.name)}(?!\w|['’]\w)", text, re.IGNORECASE)
        if found:
            places.append((found.end(), f" ({element.look.rstrip('. ')})"))
    # From the end, so that one look is never searched for another's name.
    for place, look in sorted(places, reverse=True):
        text = text[:place] + look + text[place:]
    return text


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text.endswith(_END) else f"{text}."


def _checked(text: str, what: str) -> str:
    found = _RESERVED.search(text)
    if found:
        raise PromptInvalid(f"{what} must not contain {found[0]!r}: it is a heading of the prompt itself")
    return text
