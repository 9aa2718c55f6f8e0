"""One complaint about one field: of our own checks before sending, or of fal's 422 (fal-protocol §5.1)."""

from dataclasses import dataclass

from prefect_ltx.fal.safe_text import plain


@dataclass(frozen=True)
class FieldProblem:
    """One problem of one field. `loc` is fal's path to it, such as ("body", "num_frames")."""

    loc: tuple[str | int, ...]
    msg: str
    type: str = ""

    def __str__(self) -> str:
        """For example `body.num_frames: Input should be less than or equal to 481 (less_than_equal)`."""
        where = ".".join(str(part) for part in self.loc)
        kind = f" ({self.type})" if self.type else ""
        return plain(f"{where}: {self.msg}{kind}" if where else f"{self.msg}{kind}")
