import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import (
    PRESET_SIZES,
    FalRequestInvalid,
    ImageSize,
    IngredientRequest,
    ReferenceVideoRequest,
    requested_size,
    upper_bound_size,
)

sides = st.integers(1, 4096)


def reference(resolution: object = "auto") -> ReferenceVideoRequest:
    return ReferenceVideoRequest(prompt="p", video_url="v.mp4", resolution=resolution)  # type: ignore[arg-type]


def ingredient(resolution: object = "auto") -> IngredientRequest:
    return IngredientRequest(prompt="p", image_url="i.png", resolution=resolution)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "size"),
    [
        (None, (896, 512)),
        ((1920, 1080), (896, 512)),
        ((1080, 1920), (512, 896)),
        ((640, 640), (512, 512)),
        ((640, 480), (640, 512)),
    ],
)
def test_auto_follows_the_reference(seen: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """Auto is the reference's shape with its shorter side 512, floored to multiples of 64."""
    assert requested_size(reference(), seen) == size


def test_auto_of_an_ingredient_is_its_trained_size() -> None:
    """An ingredient's auto does not depend on its sheet."""
    assert requested_size(ingredient(), (100, 5000)) == upper_bound_size(ingredient()) == (1536, 896)


@pytest.mark.parametrize("preset", sorted(PRESET_SIZES))
def test_presets_are_what_their_names_say(preset: str) -> None:
    """A preset means the same on both endpoints, and is its own upper bound."""
    for request in (reference(preset), ingredient(preset)):
        assert requested_size(request) == upper_bound_size(request) == PRESET_SIZES[preset]


def test_an_explicit_size_is_taken_as_it_is_and_reserved_rounded_up() -> None:
    """What is asked for is not changed; what is reserved covers a delivery on the 64 grid."""
    request = ingredient(ImageSize(width=1281, height=720))
    assert requested_size(request) == (1281, 720)
    assert upper_bound_size(request) == (1344, 768)


@given(sides, sides, st.sampled_from(["auto", "square", "size"]), st.booleans())
def test_the_upper_bound_is_never_below_the_requested_size(
    width: int, height: int, resolution: str, known: bool
) -> None:
    """A reservation covers what is asked for, side by side, whatever the reference."""
    asked = {"width": width, "height": height} if resolution == "size" else resolution
    seen = (width, height) if known else None
    for request in (reference(asked), ingredient(asked)):
        size, bound = requested_size(request, seen), upper_bound_size(request, seen)
        assert bound[0] >= size[0]
        assert bound[1] >= size[1]
        assert bound[0] % 64 == bound[1] % 64 == 0


def test_a_reference_without_a_size_is_refused() -> None:
    """A broken probe does not become a price."""
    with pytest.raises(FalRequestInvalid, match="0x512"):
        requested_size(reference(), (0, 512))
    with pytest.raises(FalRequestInvalid, match="512x0"):
        upper_bound_size(reference(), (512, 0))
