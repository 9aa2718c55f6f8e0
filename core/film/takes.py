"""How many takes of one request are made, which seeds they have, and who chooses."""

import hashlib
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_TAKES: Final = 32


class TakePolicy(BaseModel):
    """How a take is found: how many seeds at most, when to stop, and who chooses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(default=1, ge=1, le=MOST_TAKES, description="How many takes at most; each is paid for.")
    stop: Literal["first_pass", "all"] = Field(
        default="first_pass",
        description="first_pass makes one after the other and stops at the first without a defect; all makes n.",
    )
    choose: Literal["judge", "person"] = Field(
        default="judge", description="person pauses the flow until somebody chooses in Prefect's UI."
    )
    judge: str = Field(
        default="",
        pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)?$",
        description="module:object that ranks the takes; empty: the first one without a defect.",
    )

    @model_validator(mode="after")
    def _choice_needs_all(self) -> "TakePolicy":
        if self.stop == "first_pass" and self.n > 1 and (self.choose == "person" or self.judge):
            who = "a person" if self.choose == "person" else "a judge"
            raise ValueError(f"stop: {who} chooses among several takes, so stop has to be all")
        return self


def take_seeds(seed: int, n: int) -> list[int]:
    """`n` different seeds below 2**31, the same for the same `seed`; the first is `seed` itself.

    A longer list begins with the shorter one: asking for more takes buys only those that are new.
    """
    seeds = [seed]
    counter = 0
    while len(seeds) < n:
        counter += 1
        drawn = derived_seed(f"{seed}/take/{counter}")
        if drawn not in seeds:
            seeds.append(drawn)
    return seeds


def derived_seed(text: str) -> int:
    """A seed below 2**31 that depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 2**31
