"""What a sweep says it did. Every generation that it looked at is named, whatever became of it."""

from pydantic import BaseModel

from prefect_ltx.ledger import State


class SweepItem(BaseModel):
    """What the sweep found of one generation, and where it left it."""

    generation_id: str
    request_id: str | None
    before: str
    after: str
    note: str = ""
    rejected: bool = False
    """Archived, and refused by the sweep's quality policy."""


class SweepReport(BaseModel):
    """Everything one sweep did and found; prices in USD."""

    items: list[SweepItem] = []
    left_alone: list[str] = []
    """Generations that a living run is working on."""
    other_accounts: list[str] = []
    """Generations of other accounts or services, which only their own key may ask about: left alone."""
    settled: list[str] = []
    double_charges: list[str] = []
    orphans: list[str] = []
    """Request ids that fal lists for this account and no row of this ledger knows."""
    drift: list[str] = []
    """Generations that cost something else than expected."""
    broken: list[str] = []
    """What stopped at an error that nobody expected; everything else went on."""
    notes: list[str] = []

    @property
    def needs_a_person(self) -> list[SweepItem]:
        """What cannot go on by itself."""
        return [each for each in self.items if each.rejected or each.after in (State.PARKED, State.LOST)]

    @property
    def succeeded(self) -> bool:
        """Whether all of it did: nothing failed, and nothing needs a person."""
        failed = self.broken or any(each.note for each in self.items)
        return not (failed or self.needs_a_person or self.double_charges)
