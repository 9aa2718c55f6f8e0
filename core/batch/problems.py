"""A batch that cannot be run as it is: every problem of it, by row and column."""

from collections.abc import Sequence

from prefect_ltx.reading import Problem

__all__ = ["BatchInvalid", "Problem"]


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
