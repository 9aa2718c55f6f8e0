"""A ceiling on spending, as a Prefect block."""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from prefect_ltx.blocks._forms import LOGO, Dollars, OptionalDollars, page
from prefect_ltx.ledger import BudgetLimit


class SpendingBudget(Block):
    """The most that may be spent: a day, a month, or a month for a tag. Days and months are UTC.

    The price of a generation is reserved before it is sent, so that any number of processes that share a ledger
    stay below the limit together.

    Example:
        Load the stored block and see its limits:

        ```python
        from prefect_ltx.blocks import SpendingBudget

        budget = SpendingBudget.load("BLOCK_NAME")
        print(budget.limits())
        ```
    """

    _block_type_name: ClassVar[str] = "Spending Budget"
    _block_type_slug: ClassVar[str] = "spending-budget"
    _documentation_url: ClassVar[HttpUrl] = page("money")
    _logo_url: ClassVar[HttpUrl] = LOGO
    _description: ClassVar[str] = "The most that may be spent: a day, a month, or a month for a tag."

    per_day_usd: OptionalDollars = Field(
        default=None, ge=0, title="USD a day", description="Limit for each UTC day; empty for none."
    )
    per_month_usd: OptionalDollars = Field(
        default=None, ge=0, title="USD a month", description="Limit for each UTC month; empty for none."
    )
    per_tag_usd: dict[str, Dollars] = Field(
        default_factory=dict,
        title="USD a month for a tag",
        description="Limit for each UTC month of the generations that carry a tag, by tag.",
    )

    def limits(self) -> tuple[BudgetLimit, ...]:
        """The limits as the ledger takes them, each checked on every new generation."""
        name = getattr(self, "_block_document_name", None) or "budget"
        found = []
        if self.per_day_usd is not None:
            found.append(BudgetLimit(usd=self.per_day_usd, period="day", tag=None, name=f"{name} (day)"))
        if self.per_month_usd is not None:
            found.append(
                BudgetLimit(usd=self.per_month_usd, period="month", tag=None, name=f"{name} (month)")
            )
        for tag, usd in self.per_tag_usd.items():
            found.append(BudgetLimit(usd=usd, period="month", tag=tag, name=f"{name} (month, tag {tag})"))
        return tuple(found)
