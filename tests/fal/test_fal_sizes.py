import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import (
    PRESET_SIZES,
    FalRequestInvalid,
    ImageSize,
    IngredientRequest,
    ReferenceVideoRequest,
    megapixels,
    requested_size,
    upper_bound_megapixels,
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
    """A preset means the same on both endpoints, and an ingredient's is its own upper bound."""
    for request in (reference(preset), ingredient(preset)):
        assert requested_size(request) == PRESET_SIZES[preset]
    assert upper_bound_size(ingredient(preset)) == PRESET_SIZES[preset]


def test_an_explicit_size_is_taken_as_it_is_and_reserved_rounded_up() -> None:
    """What is asked for is not changed; what is reserved covers a delivery on the 64 grid."""
    request = ingredient(ImageSize(width=1281, height=720))
    assert requested_size(request) == (1281, 720)
    assert upper_bound_size(request) == (1344, 768)


@given(sides, sides, st.sampled_from(["auto", "square", "size"]), st.booleans())
def test_the_upper_bound_is_never_below_the_requested_size(
    width: int, height: int, resolution: str, known: bool
) -> None:
    """A reservation covers the area of what is asked for, whatever the reference."""
    asked = {"width": width, "height": height} if resolution == "size" else resolution
    seen = (width, height) if known else None
    for request in (reference(asked), ingredient(asked)):
        size, bound = requested_size(request, seen), upper_bound_size(request, seen)
        assert bound[0] * bound[1] >= size[0] * size[1]
        assert bound[0] % 64 == bound[1] % 64 == 0


def test_a_reference_without_a_size_is_refused() -> None:
    """A broken probe does not become a price."""
    with pytest.raises(FalRequestInvalid, match="0x512"):
        requested_size(reference(), (0, 512))
    with pytest.raises(FalRequestInvalid, match="512x0"):
        upper_bound_size(reference(), (512, 0))


def direct(resolution: object = "auto", frames: int = 121) -> ReferenceVideoRequest:
    return ReferenceVideoRequest(
        prompt="p",
        video_url="v.mp4",
        control_video_url="c.mp4",
        skip_control_preprocess=True,
        num_frames=frames,
        resolution=resolution,  # type: ignore[arg-type]
    )


def area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


@given(sides, sides, sides, sides, st.integers(9, 481), st.sampled_from(["auto", "square", "size"]))
def test_built_in_control_reserves_half_a_megapixel_at_least(
    width: int, height: int, across: int, down: int, frames: int, resolution: str
) -> None:
    """Its output stays near one area whatever is asked: the reserve covers that area in any shape, rounded to 64."""
    asked = {"width": across, "height": down} if resolution == "size" else resolution
    request = reference(asked).model_copy(update={"num_frames": frames})
    bound = upper_bound_size(request, (width, height))
    assert area(bound) >= 530_000
    assert upper_bound_megapixels(request, (width, height)) >= megapixels(*bound, frames)


@pytest.mark.parametrize(
    ("frames", "padded"), [(9, 9), (10, 17), (17, 17), (120, 121), (474, 481), (481, 481)]
)
def test_the_reserve_counts_frames_padded_up(frames: int, padded: int) -> None:
    """The model works on 8k+1 frames, so 10 may be made and billed as 17; what is asked for is not changed."""
    request = ingredient("square_hd").model_copy(update={"num_frames": frames})
    assert upper_bound_megapixels(request) == megapixels(1024, 1024, padded)


def test_a_square_reference_reserves_what_was_seen_delivered() -> None:
    """768x768 asked with a square reference was delivered as 704x704; auto may be that too."""
    for asked in ("auto", {"width": 512, "height": 512}):
        assert area(upper_bound_size(reference(asked), (640, 640))) >= 704 * 704


def test_direct_control_follows_the_source() -> None:
    """With a control video of its own, auto is the reference video's size, and the reserve covers it rounded up."""
    assert requested_size(direct(frames=49), (1920, 1080)) == (1920, 1024)
    assert upper_bound_size(direct(frames=49), (1920, 1080)) == (1920, 1088)
    assert upper_bound_size(direct({"width": 1280, "height": 704}), (1920, 1080)) == (1280, 704)


@given(sides, sides, st.integers(9, 481))
def test_direct_control_is_cut_at_the_limit(width: int, height: int, frames: int) -> None:
    """A source that is larger than the model takes is not reserved in full, but never below what may be delivered."""
    request = direct(frames=frames)
    bound = upper_bound_size(request, (width, height))
    assert area(bound) * frames >= min(width * height * frames, 1280 * 720 * 150)
    assert area(bound) >= area(requested_size(request, (width, height)))


def test_the_larger_of_both_videos_counts_for_direct_control() -> None:
    """Which of the two fal follows is not documented."""
    small, large = (512, 288), (1280, 704)
    assert upper_bound_size(direct(frames=9), small, control_size=large) == large
    assert upper_bound_size(direct(frames=9), large, control_size=small) == large
