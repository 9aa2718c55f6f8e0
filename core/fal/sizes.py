"""Which size a request means, and the largest that it may be billed at.

fal's pages give no size for "auto". The estimate here follows the published workflow (ltx-model §2): shorter
side 512, each side floored to a multiple of 64. What fal delivers can differ, so a reservation uses the upper
bound.
"""

from typing import Final

from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.fields import PRESET_SIZES, ImageSize
from prefect_ltx.fal.models import GenerationRequest, IngredientRequest

_GRID: Final = 64
_AUTO_SHORT_SIDE: Final = 512
_AUTO_CONTROL_SIDE: Final = 544
"""The workflow first resizes the reference to this shorter side; a size between the two is thinkable."""
_AUTO_UNKNOWN: Final = (896, 512)
_AUTO_UNKNOWN_UPPER: Final = (1280, 704)
_INGREDIENT_AUTO: Final = (1536, 896)


def requested_size(
    request: GenerationRequest, reference_size: tuple[int, int] | None = None, *, auto_side: int | None = None
) -> tuple[int, int]:
    """(width, height) in pixels that `request` asks for, presets and "auto" resolved.

    `reference_size` is the (width, height) of the reference video, where known; only "auto" depends on it.
    `auto_side` is the shorter side in pixels that fal was seen to deliver for "auto".

    Raises:
        FalRequestInvalid: when `reference_size` is not positive.
    """
    fixed = _fixed_size(request)
    if fixed is not None:
        return fixed
    if reference_size is None:
        return _AUTO_UNKNOWN
    width, height = _scaled(reference_size, auto_side or _AUTO_SHORT_SIDE)
    return max(width // _GRID, 1) * _GRID, max(height // _GRID, 1) * _GRID


def upper_bound_size(
    request: GenerationRequest, reference_size: tuple[int, int] | None = None, *, auto_side: int | None = None
) -> tuple[int, int]:
    """(width, height) no smaller than what may be billed: for reservations and budgets.

    Raises:
        FalRequestInvalid: when `reference_size` is not positive.
    """
    size = _fixed_size(request)
    if size is None:
        side = max(_AUTO_CONTROL_SIDE, auto_side or 0)
        size = _scaled(reference_size, side) if reference_size else _AUTO_UNKNOWN_UPPER
    width, height = size
    return -(-width // _GRID) * _GRID, -(-height // _GRID) * _GRID


def _fixed_size(request: GenerationRequest) -> tuple[int, int] | None:
    resolution = request.resolution
    if isinstance(resolution, ImageSize):
        return resolution.width, resolution.height
    if resolution == "auto":
        return _INGREDIENT_AUTO if isinstance(request, IngredientRequest) else None
    return PRESET_SIZES[resolution]


def _scaled(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    width, height = size
    if width < 1 or height < 1:
        raise FalRequestInvalid(f"A reference of {width}x{height} has no size")
    shorter = min(width, height)
    return width * short_side // shorter, height * short_side // shorter
