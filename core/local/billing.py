"""What a generation is billed, and how the bill shows as billing events: as fal's pages say, and as it may be
otherwise. The bill itself has one charge per generation, always."""

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from prefect_ltx.fal import megapixels, nano_to_usd, usd_to_nano
from prefect_ltx.fal.frames import pad_num_frames
from prefect_ltx.local.faults import Faults
from prefect_ltx.local.rows import Charge


class Clip(NamedTuple):
    """Width and height in pixels, and how many frames."""

    width: int
    height: int
    frames: int


def billed_units(faults: Faults, endpoint: str, asked: Clip, delivered: Clip) -> Decimal:
    """Megapixels to bill for a clip: those of what was delivered, unless a knob says otherwise."""
    if faults.take("bill_padded_frames", endpoint=endpoint):
        asked = asked._replace(frames=pad_num_frames(asked.frames))
        delivered = delivered._replace(frames=max(asked.frames, delivered.frames))
    units = megapixels(*delivered)
    if faults.take("bill_requested", endpoint=endpoint):
        units = max(units, megapixels(*asked))
    billed = Decimal(units)
    if extra := faults.take("overbill", endpoint=endpoint):
        billed += Decimal(f"{extra.value or 0:g}")
    if absurd := faults.take("absurd_bill", endpoint=endpoint):
        billed *= Decimal(f"{absurd.value or 1:g}")
    return billed


def events_of(charge: Charge, faults: Faults, now: float) -> list[Charge]:
    """The billing events of one charge that show at `now`: usually one, itself."""
    if faults.holding(("billing_missing",), charge.request_id, endpoint=charge.endpoint):
        return []
    count = int(faults.value("split_billing") or 1)
    late = faults.value("split_billing_late")
    parts = _parts(charge, max(count, 1))
    return parts[:1] if late is not None and charge.at + late > now else parts


def _parts(charge: Charge, count: int) -> list[Charge]:
    nano = usd_to_nano(charge.usd)
    units = (charge.units / count).quantize(Decimal("0.000001"))
    part = replace(charge, units=units, usd=nano_to_usd(nano // count))
    # The first has what does not divide.
    first = replace(
        charge,
        units=charge.units - units * (count - 1),
        usd=nano_to_usd(nano - nano // count * (count - 1)),
    )
    return [first, *[part] * (count - 1)]
