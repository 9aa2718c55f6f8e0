"""The composed prompt."""

import pytest

from prefect_ltx.fal import IngredientRequest
from prefect_ltx.sheets import ANTI_COLLAGE, Element, PromptInvalid, ShotDescription, compose_prompt
from prefect_ltx.sheets.prompt import composed_fields

MARA = Element(name="Mara", look="a woman of thirty in a long red coat")
LAMP = Element(name="the lantern", look="a dented brass lantern", kind="prop")
SHORE = Element(name="the shore", look="a grey beach at dusk.", kind="location")


def test_prompt_has_both_parts_with_bound_names() -> None:
    """Elements first, the place named as such; then the shot, each name bound to its look once."""
    text = compose_prompt([MARA, LAMP, SHORE], "Mara lifts the lantern; Mara listens")
    assert text == (
        "Reference sheet: Mara, a woman of thirty in a long red coat; the lantern, a dented brass lantern; "
        "the location: the shore, a grey beach at dusk.\n\n"
        "Generated video: Mara (a woman of thirty in a long red coat) lifts the lantern (a dented brass "
        f"lantern); Mara listens. {ANTI_COLLAGE}"
    )


def test_shot_is_one_paragraph_in_a_fixed_order() -> None:
    """Style, action, camera, light, dialogue with its speaker, sound."""
    shot = ShotDescription.model_validate(
        {
            "text": "Mara turns\n  round",
            "camera": "slow push-in",
            "light": "low sun",
            "dialogue": [{"speaker": "Mara", "text": "Who is there?"}],
            "sound": "waves",
        }
    )
    video = compose_prompt([MARA], shot, style="35 mm film").partition("Generated video: ")[2]
    assert video == (
        "35 mm film. Mara (a woman of thirty in a long red coat) turns round. Slow push-in. Low sun. "
        f'Mara says: "Who is there?" Waves. {ANTI_COLLAGE}'
    )


def test_only_whole_names_are_bound() -> None:
    """Neither a part of a word nor a possessive is a mention, and a look is not searched for names."""
    tall = Element(name="Ara", look="a tall friend of Mara")
    video = compose_prompt([MARA, tall], "Marabou! Mara's coat. Ara waits").partition("Generated video: ")[2]
    assert video.startswith("Marabou! Mara's coat. Ara (a tall friend of Mara) waits.")


def test_expansion_is_off() -> None:
    """A composed prompt is sent as it is: fal's expansion can destroy its structure."""
    request = IngredientRequest(image_url="sheet.png", **composed_fields([MARA], "Mara runs"))
    assert request.body()["enable_prompt_expansion"] is False
    assert request.prompt == compose_prompt([{"name": "Mara", "look": MARA.look}], {"text": "Mara runs"})


@pytest.mark.parametrize(
    ("elements", "shot"),
    [
        ([], "Mara runs"),
        ([MARA, Element(name="mara", look="a cat")], "Mara runs"),
        ([MARA], "Generated video: Mara runs"),
        ([Element(name="Mara", look="the reference  sheet : hers")], "Mara runs"),
    ],
)
def test_what_breaks_the_structure_is_refused(elements: list[Element], shot: str) -> None:
    """No elements, one name twice, or a heading inside a text."""
    with pytest.raises(PromptInvalid):
        compose_prompt(elements, shot)
