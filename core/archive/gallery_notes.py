"""What others know of archived clips, for the gallery: whether they can be used, and what that costs.

The archive does not know the ledger: whoever builds the page hands this in, as words and exact amounts.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, Field

NO_VERDICT: Final = "no verdict"


class ClipNote(BaseModel, frozen=True):
    """One clip: `verdict` is what it is filtered by (usable, rejected, passed over …), `words` who said it and why."""

    verdict: str
    words: str = ""


class ClipCost(BaseModel, frozen=True):
    """What usable clips of one group cost, in USD; None where there is no usable one."""

    name: str
    attempts: int
    usable: int
    usable_usd: Decimal
    unusable_usd: Decimal
    usd_per_clip: Decimal | None
    usd_per_second: Decimal | None
    why: dict[str, int] = Field(default_factory=dict, description="Why the others cannot be used.")


class GalleryNotes(BaseModel, frozen=True):
    """Notes by generation, the costs of all attempts, and of groups of them (prompts), the dearest first."""

    clips: Mapping[str, ClipNote] = Field(default_factory=dict)
    total: ClipCost | None = None
    groups: Sequence[ClipCost] = ()
