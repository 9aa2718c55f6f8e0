"""What a manifest says beside its files: where a video comes from, and what quality control found.

These shapes are the archive's own and outlive the checks that filled them in; readers take kinds and verdicts
that they do not know as plain words.
"""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

SHA256 = Field(pattern=r"^[0-9a-f]{64}$")


class Ancestor(BaseModel):
    """An archived generation that this video was made of; `role` is its part in it, such as `shot 3`."""

    model_config = ConfigDict(extra="allow")

    generation_id: str
    manifest_sha256: str = SHA256
    role: str


class ApprovalRecord(BaseModel):
    """The approval because of which it was bought: who said yes to which plan, when, and up to which amount."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="The ledger's id of the approval.")
    plan: str = Field(description="The plan's digest: its requests, prices and budget.")
    title: str = ""
    approved_by: str
    approved_at: AwareDatetime
    valid_until: AwareDatetime
    at_most_usd: str = Field(description="What the plan might cost at most, in USD.")


class RecordedFinding(BaseModel):
    """One finding: seconds and frames where it has a place (ends are exclusive), `picture` is a file's name."""

    model_config = ConfigDict(extra="allow")

    kind: str
    severity: str
    message: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    score: float | None = None
    picture: str | None = None


class QualityRecord(BaseModel):
    """Quality control of the delivered video: the policy, what it decided, and what was found."""

    model_config = ConfigDict(extra="allow")

    policy: str
    verdict: str = Field(
        description="accept, trim, reject or next_seed (refused, and another seed may have been bought); "
        "the delivered video is archived whole in any case."
    )
    trimmed_frames: int = Field(default=0, description="Leading frames that the renditions leave out.")
    findings: list[RecordedFinding] = Field(default_factory=list)
    measures: dict[str, float] = Field(default_factory=dict)

    @property
    def reasons(self) -> str:
        """What it found against the video, kind by kind, in one line."""
        return "; ".join(f"{each.kind}: {each.message}" for each in self.findings if each.severity != "info")

    @property
    def rejected(self) -> bool:
        """The policy refused the video."""
        return self.verdict in ("reject", "next_seed")
