"""What is wrong with a batch, by row and column, all of it at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect_ltx.fal import plain


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `where` is a line of a file, a row of a list, or a part such as `defaults`."""

    where: str
    column: str
    """The field or column; empty where the whole row is meant."""
    what: str

    def __str__(self) -> str:
        """For example `line 7, num_frames: Input should be less than or equal to 481`."""
        place = f"{self.where}, {self.column}" if self.column else self.where
        return plain(f"{place}: {self.what}", limit=500)


class BatchInvalid(Exception):
    """A batch that cannot be run as it is. Nothing was sent or spent; `problems` has every one of them."""

    SHOWN = 5

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = list(problems)
        shown = "; ".join(str(each) for each in self.problems[: self.SHOWN])
        more = len(self.problems) - self.SHOWN
        tail = f"; and {more} more" if more > 0 else ""
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{name} has {count}; nothing was sent or spent: {shown}{tail}.")

    def __reduce__(self) -> tuple[type["BatchInvalid"], tuple[str, list[Problem]]]:
        return type(self), (self.name, self.problems)
