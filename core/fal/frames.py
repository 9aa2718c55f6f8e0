"""Frame counts: the model works on 8k+1 frames, fal's pages only say 9 to 481 (ltx-model §1).

Whether fal floors, pads or refuses other counts is not documented, so a count can be snapped before it is
sent.
"""

from typing import Final, Literal

from prefect_ltx.fal.errors import FalRequestInvalid
from prefect_ltx.fal.field_problem import FieldProblem

MIN_FRAMES: Final = 9
MAX_FRAMES: Final = 481
_STEP: Final = 8

FrameRule = Literal["nearest", "floor", "as_is"]


def snap_num_frames(n: int, rule: FrameRule = "nearest") -> int:
    """`n` as a frame count to ask for, within 9..481.

    "nearest" takes the closest 8k+1, the lower (cheaper) of two equally close; "floor" takes the largest 8k+1
    that is not above `n`, as the model's own code does; "as_is" leaves `n` alone.

    Raises:
        FalRequestInvalid: when `n` is outside 9..481, or `rule` is not one of the three.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not MIN_FRAMES <= n <= MAX_FRAMES:
        problem = FieldProblem(("num_frames",), f"must be a whole number from {MIN_FRAMES} to {MAX_FRAMES}")
        raise FalRequestInvalid(f"Cannot use {n!r} as a frame count", fields=[problem])
    if rule == "as_is":
        return n
    if rule not in ("nearest", "floor"):
        raise FalRequestInvalid(f"Unknown frame rule {rule!r}: choose nearest, floor or as_is")
    steps, rest = divmod(n - 1, _STEP)
    # Both ends of the range are 8k+1 themselves, so the result never leaves it.
    up = rule == "nearest" and rest > _STEP // 2
    return (steps + up) * _STEP + 1


def pad_num_frames(n: int) -> int:
    """`n` padded up to the next 8k+1, as many frames as may be made and billed where `n` were asked for."""
    return -(-(n - 1) // _STEP) * _STEP + 1
