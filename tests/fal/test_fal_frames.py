import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import FalRequestInvalid, FrameRule, snap_num_frames

counts = st.integers(9, 481)


@given(counts, st.sampled_from(["nearest", "floor"]))
def test_snapped_counts_are_8k_plus_1_within_the_pages_range(n: int, rule: FrameRule) -> None:
    """Whatever is asked for, what is sent is 8k+1 from 9 to 481."""
    snapped = snap_num_frames(n, rule)
    assert snapped % 8 == 1
    assert 9 <= snapped <= 481


@given(counts)
def test_nearest_is_nearest_and_the_cheaper_of_two(n: int) -> None:
    """No other 8k+1 is closer, and of two equally close the lower is taken."""
    snapped = snap_num_frames(n)
    assert abs(snapped - n) <= 4
    assert snapped - n != 4


@given(counts)
def test_floor_never_adds_frames(n: int) -> None:
    """Floor gives the largest 8k+1 that is not above the count."""
    assert 0 <= n - snap_num_frames(n, "floor") < 8


@given(counts)
def test_as_is_changes_nothing(n: int) -> None:
    """As_is hands the count through."""
    assert snap_num_frames(n, "as_is") == n


@pytest.mark.parametrize(
    ("n", "rule", "snapped"),
    [
        (121, "nearest", 121),
        (124, "nearest", 121),
        (125, "nearest", 121),
        (126, "nearest", 129),
        (128, "floor", 121),
    ],
)
def test_known_counts(n: int, rule: FrameRule, snapped: int) -> None:
    """The rules on counts that people ask for."""
    assert snap_num_frames(n, rule) == snapped


@pytest.mark.parametrize("n", [8, 482, 0, -1, True, 12.5])
def test_counts_outside_the_range_are_refused(n: int) -> None:
    """A count that fal would refuse is not snapped into one that it would bill."""
    with pytest.raises(FalRequestInvalid, match="9 to 481"):
        snap_num_frames(n)


def test_an_unknown_rule_is_refused() -> None:
    """A misspelt rule is an error, not as_is."""
    with pytest.raises(FalRequestInvalid, match="nearest, floor or as_is"):
        snap_num_frames(9, "ceil")  # type: ignore[arg-type]
