"""What can be wrong with a delivered clip, as typed findings.

Severity is about the clip, not about what to do (`QualityPolicy` says that):
    error    the clip is not usable as what was asked for
    warning  a person should look
    info     said for completeness
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FindingKind = Literal[
    "undecodable",
    "size",
    "frames",
    "frame_rate",
    "audio_missing",
    "audio_unasked",
    "black",
    "frozen",
    "silent",
    "clipped",
    "cut",
    "sheet_lead_in",
    "sheet_throughout",
    "structure",
    "unmeasured",
]
Severity = Literal["info", "warning", "error"]


class QualityFinding(BaseModel):
    """One defect: where (seconds, and frames where it is in the picture; ends are exclusive) and how bad."""

    model_config = ConfigDict(frozen=True)

    kind: FindingKind
    severity: Severity
    message: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    score: float | None = Field(
        default=None, description="What was measured: a similarity, a share or a difference."
    )

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        for start, end in ((self.start_seconds, self.end_seconds), (self.start_frame, self.end_frame)):
            if (start is None) != (end is None) or (start is not None and end is not None and end < start):
                raise ValueError("a finding's range has a start and an end after it, or neither")
        return self


class QualityReport(BaseModel):
    """What was found in one clip, in the order of time; `measures` are the figures behind it."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    frames: int = 0
    fps: str = "0"
    duration: float = 0.0
    findings: tuple[QualityFinding, ...] = ()
    measures: dict[str, float] = Field(default_factory=dict)

    def of(self, *kinds: FindingKind) -> list[QualityFinding]:
        """The findings of these kinds."""
        return [each for each in self.findings if each.kind in kinds]

    @property
    def sound(self) -> bool:
        """Nothing was found that a person should look at."""
        return all(each.severity == "info" for each in self.findings)
