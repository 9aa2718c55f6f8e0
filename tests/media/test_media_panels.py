"""Panels are what lies between black gutters."""

import av
import pytest

from prefect_ltx.media.panels import WHOLE, find_panels


def sheet(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (480, 280)) -> av.VideoFrame:
    """A black picture with grey boxes (left, top, right, bottom)."""
    width, height = size
    frame = av.VideoFrame(width, height, "gray")
    plane = frame.planes[0]
    data = bytearray(plane.line_size * height)
    for left, top, right, bottom in boxes:
        for y in range(top, bottom):
            data[y * plane.line_size + left : y * plane.line_size + right] = b"\xc8" * (right - left)
    plane.update(bytes(data))
    return frame


def test_a_grid_is_cut_into_its_panels() -> None:
    """Top left first, each where it is."""
    panels = find_panels(
        sheet((10, 10, 230, 130), (250, 10, 470, 130), (10, 150, 230, 270), (250, 150, 470, 270))
    )
    assert len(panels) == 4
    assert [round(value * 48) for value in (panels[0].left, panels[0].right)] == [1, 23]
    assert (panels[1].left, panels[1].top) > (panels[0].right, 0)


def test_a_row_above_a_band_is_cut_too() -> None:
    """The layout with subjects above and a location below."""
    panels = find_panels(sheet((0, 0, 150, 160), (165, 0, 315, 160), (330, 0, 480, 160), (0, 175, 480, 280)))
    assert len(panels) == 4
    assert panels[3].right - panels[3].left == pytest.approx(1)


@pytest.mark.parametrize("boxes", [[], [(0, 0, 480, 280)], [(5, 5, 20, 20)]])
def test_without_panels_it_is_the_whole_picture(boxes: list[tuple[int, int, int, int]]) -> None:
    """Black, full, or with nothing but a speck."""
    assert find_panels(sheet(*boxes)) == [WHOLE]


def test_a_frame_around_one_panel_is_left_out() -> None:
    """What is black at the edge is no part of it."""
    (panel,) = find_panels(sheet((48, 28, 432, 252)))
    assert panel == pytest.approx((0.1, 0.1, 0.9, 0.9), abs=0.01)
