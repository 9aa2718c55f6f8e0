"""The takes of one request: those that are archived, those that were not made, and what all of them cost."""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from prefect_ltx.archive import Manifest
from prefect_ltx.fal import GenerationRequest
from prefect_ltx.film import TakePolicy
from prefect_ltx.flows.comparison import choice_markdown, comparison_markdown, comparison_page, page_key
from prefect_ltx.flows.naming import in_markdown
from prefect_ltx.generation import ArchivedGeneration, Services
from prefect_ltx.ledger import State
from prefect_ltx.ledger.life.budget import dollars


class NoTakePassed(Exception):
    """No take can be used: each has a defect, was not made, or was refused. The message counts every one."""


class Take(BaseModel):
    """One archived take: its place in the row (from 1), what speaks against it, its rank."""

    number: int
    seed: int
    generation: ArchivedGeneration
    defects: tuple[str, ...] = ()
    skip_frames: int = 0
    """Frames at its start that show the reference sheet."""
    score: float | None = None
    """What the judge gave it; higher is better."""
    chosen: bool = False


class FailedTake(BaseModel):
    """A seed that ended without a video, why, and what it may have cost all the same."""

    number: int
    seed: int
    reason: str
    state: str = ""
    """Of its generation in the ledger: PARKED waits for a person; empty where it has none."""
    generation_id: str | None = None
    money: str = "cost nothing"
    may_have_cost_usd: Decimal = Decimal(0)
    """Billed, or held against the budget because it may be."""

    @property
    def line(self) -> str:
        """It in one line, for a person."""
        named = f", generation {self.generation_id}" if self.generation_id else ""
        return f"take {self.number} (seed {self.seed}{named}) was not made: {self.reason} ({self.money})"


@dataclass
class TakeRow:
    """All takes of one request, with what it takes to look at them."""

    request: GenerationRequest
    policy: TakePolicy
    takes: list[Take]
    failed: list[FailedTake]
    manifests: dict[int, Manifest]
    folder: Path
    posters: dict[int, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The same for the same takes, in hex."""
        keys = " ".join(take.generation.key for take in self.takes)
        return hashlib.sha256(keys.encode()).hexdigest()

    @property
    def passed(self) -> list[Take]:
        """The takes without a defect."""
        return [take for take in self.takes if not take.defects]

    @property
    def spent_usd(self) -> Decimal:
        """What this run bought: billed where fal said so, else expected."""
        bought = [take.generation for take in self.takes if not take.generation.reused]
        return sum((each.price_usd for each in bought), Decimal(0))

    @property
    def may_have_cost_usd(self) -> Decimal:
        """What takes without a video may have cost beyond that."""
        return sum((each.may_have_cost_usd for each in self.failed), Decimal(0))

    def refused_all(self, place: str) -> str:
        """That a person wants none of them, with what they cost; `place` is the archive."""
        return (
            f"A person chose none of the {len(self.takes)} takes. They are paid for and archived under {place}. "
            + "".join(f"{each.line}. " for each in self.failed)
            + f"{self._money()}. Ask for more takes, or change the request: what is archived is not paid for again."
        )

    def _money(self) -> str:
        money = f"This run spent {dollars(self.spent_usd)}"
        if self.may_have_cost_usd:
            money += f", and up to {dollars(self.may_have_cost_usd)} more may have been billed"
        return money

    def account(self, place: str) -> str:
        """Why no take can be used, with every one of them and what it cost; `place` is the archive."""
        defects = "; ".join(f"take {each.number}: {', '.join(each.defects)}" for each in self.takes)
        missing = "; ".join(each.line for each in self.failed)
        parts = []
        if self.takes:
            parts.append(
                f"All {len(self.takes)} takes have defects ({defects}). They are paid for and archived under {place}"
                if not self.failed
                else f"{len(self.takes)} of {len(self.takes) + len(self.failed)} takes have defects ({defects}): they "
                f"are paid for and archived under {place}"
            )
        if self.failed:
            parts.append(f"{len(self.failed)} without a video: {missing}")
        untried = self.policy.n - len(self.takes) - len(self.failed)
        parts.append(self._money() + (f"; {untried} more seeds were not tried" if untried else ""))
        parts.append(
            "Decide about what is parked (`prefect-ltx ledger show`), then run it again: it pays for nothing twice"
            if any(each.state == State.PARKED for each in self.failed)
            else "Ask for more takes, or change the request: what is archived is not paid for again"
        )
        return ". ".join(parts) + "."

    def add(self, take: Take | FailedTake) -> None:
        """Note how one seed ended."""
        if isinstance(take, Take):
            self.takes.append(take)
        else:
            self.failed.append(take)

    def choose(self, number: int) -> Take:
        """Mark one take as the chosen one."""
        self.takes = [take.model_copy(update={"chosen": take.number == number}) for take in self.takes]
        return next(take for take in self.takes if take.chosen)

    def markdown(self) -> str:
        """The comparison for Prefect's UI."""
        text = comparison_markdown(self.request.prompt, self.takes, self._posters())
        return "\n\n".join([text, *(f"- {in_markdown(each.line)}" for each in self.failed)])

    def choice_markdown(self) -> str:
        """The same for the dialog in which a person chooses."""
        text = choice_markdown(self.takes, self._posters())
        return "\n\n".join([text, *(in_markdown(each.line) for each in self.failed)])

    async def publish_page(self, services: Services) -> str:
        """Write the comparison page into the archive; gives its address."""
        lines = [each.line for each in self.failed]
        page = comparison_page(self.request.prompt, self.takes, self._posters(), lines).encode()
        key = page_key(self.group, page)
        await services.archive.put_bytes(key, page, content_type="text/html; charset=utf-8")
        return services.archive.url(key)

    def _posters(self) -> list[str]:
        return [self.posters.get(take.number, "") for take in self.takes]
