"""Where panels go, as arithmetic."""

from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.sheets import Box, SheetInvalid, arrange, sheet_size

SIZE = st.tuples(st.integers(120, 2000), st.integers(120, 2000)).filter(
    lambda size: 1 / 4 <= size[0] / size[1] <= 4
)


def apart(one: Box, other: Box) -> int:
    """The black between two boxes: the larger of the two distances, along and across."""
    across = max(one.x, other.x) - min(one.x + one.width, other.x + other.width)
    down = max(one.y, other.y) - min(one.y + one.height, other.y + other.height)
    return max(across, down)


@given(st.lists(SIZE, min_size=1, max_size=6), st.integers(12, 16), st.booleans())
def test_panels_are_whole_apart_and_on_the_canvas(
    sizes: list[tuple[int, int]], gutter: int, with_place: bool
) -> None:
    """Every panel has its picture's shape, lies on the canvas, and has a gutter at least to every other."""
    place = len(sizes) - 1 if with_place and len(sizes) > 1 else None
    boxes = arrange(sizes, width=1536, height=896, location=place, gutter=gutter)
    for (width, height), box in zip(sizes, boxes, strict=True):
        assert 0 <= box.x <= box.x + box.width <= 1536
        assert 0 <= box.y <= box.y + box.height <= 896
        # The shape to within one pixel of either side.
        assert abs(box.width - Fraction(width, height) * box.height) < 1 + Fraction(width, height)
    for one, other in combinations(boxes, 2):
        assert apart(one, other) >= gutter


def test_panels_of_a_row_have_one_height_and_one_gutter() -> None:
    """Three subjects beside each other: equal heights, and exactly the gutter between."""
    boxes = arrange([(300, 400), (200, 400), (400, 400)], width=1536, height=896, gutter=12)
    assert len({(box.y, box.height) for box in boxes}) == 1
    assert [apart(boxes[0], boxes[1]), apart(boxes[1], boxes[2])] == [12, 12]


def test_location_is_a_band_below_of_forty_percent() -> None:
    """The place stands below all subjects in a band of 40 % of the height."""
    *subjects, place = arrange([(3, 4)] * 4 + [(300, 100)], width=1536, height=896, location=4)
    assert 0.38 <= place.height / 896 <= 0.41
    assert all(box.y + box.height < place.y for box in subjects)


def test_one_picture_is_contained_on_the_canvas() -> None:
    """A single picture fills the canvas in one direction and is centred in the other."""
    assert arrange([(100, 100)], width=1536, height=896) == [Box(320, 0, 896, 896)]


@pytest.mark.parametrize(
    ("sizes", "options", "says"),
    [
        ([], {}, "at least one"),
        ([(9, 9)] * 9, {}, "too many"),
        ([(9, 9)] * 2, {"layout": "single"}, "one picture"),
        ([(9, 9)] * 2, {"layout": "band"}, "location"),
        ([(9, 9)] * 2, {"layout": "spiral"}, "no layout"),
        ([(9, 9)], {"gutter": 4}, "12 to 16"),
        ([(9, 0)], {}, "no size"),
        ([(9, 9)] * 8, {"width": 64, "height": 64}, "no room"),
    ],
)
def test_what_does_not_fit_is_refused(sizes: list[tuple[int, int]], options: dict, says: str) -> None:  # type: ignore[type-arg]
    """Nothing is squeezed or left out silently."""
    with pytest.raises(SheetInvalid, match=says):
        arrange(sizes, **{"width": 1536, "height": 896, **options})


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_sheet_has_exactly_the_videos_aspect(width: int, height: int) -> None:
    """The canvas has the video's aspect, even sides, and room for panels."""
    across, down = sheet_size(width, height)
    assert Fraction(across, down) == Fraction(width, height)
    assert max(across, down) >= 1536
    assert across % 2 == down % 2 == 0


def test_default_size_is_the_trained_bucket() -> None:
    """fal's default video size is its own sheet's size."""
    assert sheet_size(1536, 896) == (1536, 896)
