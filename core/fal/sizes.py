"""Which size a request means, and the largest that it may be billed at.

fal's pages give no size for "auto". The estimate follows the published workflow (ltx-model §2): shorter side 512,
each side floored to a multiple of 64. What fal delivers can differ, so a reservation uses the upper bound:

- Built-in control delivers about half a megapixel per frame whatever the shape, also where another size was asked
  (768x768 asked, 704x704 delivered): at least 0.53 MP per frame, and what was asked where that is more.
- Direct control (`skip_control_preprocess` with `control_video_url`) honours sizes, aligned to 64; "auto" is the
  reference video's own size, cut where size times frames reaches the model's limit.
- The model works on 8k+1 frames: another count may be padded up, and billed.

Source: fal-2026-11-26 §1.
"""

import math
from typing import Final

from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.fields import PRESET_SIZES, ImageSize
from prefect_ltx.fal.frames import pad_num_frames
from prefect_ltx.fal.ingredient import IngredientRequest
from prefect_ltx.fal.prices import megapixels
from prefect_ltx.fal.request import GenerationRequest

Size = tuple[int, int]

assert IngredientRequest.AUTO_SIZE is not None
INGREDIENT_AUTO: Final[Size] = IngredientRequest.AUTO_SIZE
"""(width, height) of "auto" on the ingredient endpoint."""

_GRID: Final = 64
_AUTO_SHORT_SIDE: Final = 512
_AUTO_CONTROL_SIDE: Final = 544
"""The workflow first resizes the reference to this shorter side; a size between the two is thinkable."""
_BUILT_IN_AREA: Final = 530_000
"""Pixels per frame that built-in control may deliver whatever is asked."""
_AUTO_UNKNOWN: Final[Size] = (896, 512)
_AUTO_UNKNOWN_UPPER: Final[Size] = (1280, 704)
_CUT_PIXELS: Final = 1280 * 720 * 150
"""About where fal answers 422: size times frames of a reference-video request."""
_CUT_PIXELS_UPPER: Final = 150_000_000


def requested_size(
    request: GenerationRequest, reference_size: Size | None = None, *, auto_side: int | None = None
) -> Size:
    """(width, height) in pixels that `request` asks for, presets and "auto" resolved.

    `reference_size` is the (width, height) of the reference video, where known; only "auto" depends on it.
    `auto_side` is the shorter side in pixels that fal was seen to deliver for "auto" with built-in control.

    Raises:
        FalRequestInvalid: when `reference_size` is not positive.
    """
    fixed = fixed_size(request)
    if fixed is not None:
        return fixed
    if reference_size is None:
        return _AUTO_UNKNOWN
    if request.has_direct_control:
        width, height = _cut(reference_size, _CUT_PIXELS, request.num_frames)
    else:
        width, height = _scaled(reference_size, auto_side or _AUTO_SHORT_SIDE)
    return max(width // _GRID, 1) * _GRID, max(height // _GRID, 1) * _GRID


def upper_bound_size(
    request: GenerationRequest,
    reference_size: Size | None = None,
    *,
    control_size: Size | None = None,
    auto_side: int | None = None,
) -> Size:
    """(width, height) whose area is no smaller than that of any delivery: for reservations and budgets.

    `control_size` is the (width, height) of the control video, where there is one. The shape may be another than
    the delivery's: what is billed is the area.

    Raises:
        FalRequestInvalid: when a size is not positive.
    """
    fixed = fixed_size(request)
    if request.AUTO_SIZE is not None:
        return _aligned_up(fixed or request.AUTO_SIZE)
    if request.has_direct_control:
        found = [fixed] if fixed else _sources(request, reference_size, control_size)
    else:
        found = _built_in(fixed, reference_size, auto_side)
    return max(map(_aligned_up, found), key=math.prod)


def upper_bound_megapixels(
    request: GenerationRequest,
    reference_size: Size | None = None,
    *,
    control_size: Size | None = None,
    auto_side: int | None = None,
) -> int:
    """Whole megapixels no fewer than what may be billed: the largest size, and frames padded up to 8k+1.

    Raises:
        FalRequestInvalid: when a size is not positive.
    """
    size = upper_bound_size(request, reference_size, control_size=control_size, auto_side=auto_side)
    return megapixels(*size, pad_num_frames(request.num_frames))


def fixed_size(request: GenerationRequest) -> Size | None:
    """(width, height) where the request alone says it; None for "auto" of a reference video."""
    resolution = request.resolution
    if isinstance(resolution, ImageSize):
        return resolution.width, resolution.height
    if resolution == "auto":
        return request.AUTO_SIZE
    return PRESET_SIZES[resolution]


def _built_in(fixed: Size | None, reference: Size | None, auto_side: int | None) -> list[Size]:
    side = max(_AUTO_CONTROL_SIDE, auto_side or 0)
    area = max(_BUILT_IN_AREA, side * side * 16 // 9 if auto_side else 0)
    found = [_of_area(shape, area) for shape in (fixed, reference) if shape] or [_AUTO_UNKNOWN_UPPER]
    if fixed:
        return [*found, fixed]
    return [*found, _scaled(reference, side)] if reference else found


def _sources(request: GenerationRequest, reference: Size | None, control: Size | None) -> list[Size]:
    frames = pad_num_frames(request.num_frames)
    if reference is None:
        return [_of_area((16, 9), _CUT_PIXELS_UPPER // frames)]
    # Which of the two it follows is not documented beyond "the source video".
    return [_cut(_checked(each), _CUT_PIXELS_UPPER, frames) for each in (reference, control) if each]


def _aligned_up(size: Size) -> Size:
    width, height = size
    return -(-width // _GRID) * _GRID, -(-height // _GRID) * _GRID


def _cut(size: Size, most: int, frames: int) -> Size:
    """`size`, made smaller in its shape until `frames` of it are `most` pixels."""
    width, height = _checked(size)
    if width * height * frames <= most:
        return width, height
    return _of_area(size, most // frames)


def _of_area(shape: Size, area: int) -> Size:
    """A size of this shape with at least `area` pixels, rounded up to whole pixels."""
    width, height = _checked(shape)
    across = math.isqrt(area * width // height) + 1
    return across, -(-area // across)


def _scaled(size: Size, short_side: int) -> Size:
    width, height = _checked(size)
    shorter = min(width, height)
    return width * short_side // shorter, height * short_side // shorter


def _checked(size: Size) -> Size:
    width, height = size
    if width < 1 or height < 1:
        raise FalRequestInvalid(f"A reference of {width}x{height} has no size")
    return size
