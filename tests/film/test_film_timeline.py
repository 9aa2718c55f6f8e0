"""The arithmetic of time: exact, whatever the frame rate and the number of shots."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.film import FilmInvalid, TakePolicy, Timeline, take_seeds

RATES = st.sampled_from([Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(60)])
SHOTS = st.lists(st.tuples(st.integers(30, 481), st.integers(0, 14)), min_size=1, max_size=60)


@given(RATES, SHOTS)
def test_frames_add_up(fps: Fraction, shots: list[tuple[int, int]]) -> None:
    """The film has every frame once but the shared ones; no rounding adds up, in frames or in samples."""
    laid = [(str(index), frames, overlap if index else 0) for index, (frames, overlap) in enumerate(shots)]
    timeline = Timeline.of(fps, laid)
    assert timeline.frames == sum(each[1] for each in laid) - sum(each[2] for each in laid)
    assert timeline.duration == timeline.frames / fps
    for span in timeline.spans:
        assert abs(timeline.sample(span.start) - span.start / fps * 48000) <= Fraction(1, 2)
    chapters = timeline.chapters()
    assert (chapters[0][1], chapters[-1][2]) == (0, timeline.frames)
    assert all(before[2] == after[1] for before, after in itertools.pairwise(chapters))


@pytest.mark.parametrize(
    "shots",
    [[], [("a", 9, 1)], [("a", 1, 0)], [("a", 9, 0), ("b", 9, 9)], [("a", 9, 0), ("b", 9, 5), ("c", 9, 4)]],
)
def test_what_cannot_be_laid_out_is_refused(shots: list[tuple[str, int, int]]) -> None:
    """No shots, nothing to fade from, no frame that stands alone."""
    with pytest.raises(FilmInvalid):
        Timeline.of(Fraction(24), shots)


@given(st.integers(0, 2**40), st.integers(1, 32))
def test_take_seeds_are_different_and_the_same_again(seed: int, n: int) -> None:
    """The first take is the request's own seed, and more takes only add to the list."""
    seeds = take_seeds(seed, n)
    assert (seeds[0], len(set(seeds)), take_seeds(seed, n + 1)[:n]) == (seed, n, seeds)
    assert all(0 <= each < 2**31 for each in seeds[1:])


def test_choosing_needs_something_to_choose_from() -> None:
    """Stopping at the first take leaves a person or a judge without a choice, so it is refused."""
    for choice in ({"choose": "person"}, {"judge": "my.module:rank"}):
        with pytest.raises(ValueError, match="stop has to be all"):
            TakePolicy.model_validate({"n": 2} | choice)
        assert TakePolicy.model_validate({"n": 2, "stop": "all"} | choice)
