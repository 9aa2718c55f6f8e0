"""Which size a request gets. `requested_size` of the client's own rules is the kind answer; the knob
`control_area` is what was seen of fal: the built-in control works on an area of its own, whatever is asked."""

import math
from typing import Final

from prefect_ltx.fal import GenerationRequest, requested_size
from prefect_ltx.fal.sizes import fixed_size
from prefect_ltx.local.faults import Faults

_GRID: Final = 64


def size_to_make(
    request: GenerationRequest, reference: tuple[int, int] | None, faults: Faults, endpoint: str
) -> tuple[int, int]:
    """(width, height) in pixels; `reference` is that of the reference video."""
    shape = fixed_size(request) or reference
    built_in = request.AUTO_SIZE is None and not request.has_direct_control
    if built_in and shape and (knob := faults.take("control_area", endpoint=endpoint)):
        area = (knob.value or 0.5) * 1_000_000
        width = math.sqrt(area * shape[0] / shape[1])
        return _to_grid(width), _to_grid(area / width)
    return requested_size(request, reference)


def snapped_down(side: int) -> int:
    """A side as the model makes it: the multiple of 64 at or below it."""
    return max(side // _GRID, 1) * _GRID


def _to_grid(side: float) -> int:
    return max(round(side / _GRID), 1) * _GRID
