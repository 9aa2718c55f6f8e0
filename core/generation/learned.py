"""What `prefect-ltx doctor --live` learned of an account, kept in `learned.json` in PREFECT_LTX_HOME.

Explicit settings always win over it. A file that is missing or unreadable means that nothing was learned.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

NAME: Final = "learned.json"
LEAST_LAG_SECONDS: Final = 600.0
"""On fal the listing is given this time whatever was measured: a few answers on a good day prove no worst case."""
LAG_FACTOR: Final = 20.0


class Learned(BaseModel, frozen=True):
    """Answers about one account on one host; None where the generations did not tell."""

    host: str
    learned_at: datetime
    spent_usd: str = ""
    listing_shows_queued: bool | None = None
    """Whether a request was in the listing while it was still in the queue."""
    listing_lag_seconds: float | None = None
    """The longest time from fal's answer to a submit until the listing showed the request, as observed."""
    listing_has_payloads: bool | None = None
    auto_size: tuple[int, int] | None = None
    """Width and height that fal delivered for "auto" and a 16:9 reference video."""
    sizes: Literal["as asked", "floor 64", "other"] | None = None
    """What became of a size that is no multiple of 64."""
    frames: Literal["as asked", "floor 8k+1", "other"] | None = None
    """What became of a frame count that is not 8k+1."""
    billed_by: Literal["requested", "delivered"] | None = None
    observed: list[dict[str, Any]] = []
    """The generations it rests on: what was asked, what came, what was billed."""

    @property
    def absence_is_proof(self) -> bool | None:
        """Whether a request that the listing does not show never ran; None where it was not learned.

        Yes only where every request was listed, with its payload, while it had not even begun.
        """
        if self.listing_shows_queued is None:
            return None
        return self.listing_shows_queued and self.listing_has_payloads is True

    def wait_for_listing(self, *, is_fal: bool) -> float | None:
        """Seconds after which the listing counts as up to date: many times what was observed."""
        if self.listing_lag_seconds is None:
            return None
        return max(LEAST_LAG_SECONDS if is_fal else 1.0, self.listing_lag_seconds * LAG_FACTOR)


def read_learned(home: Path, account: str | None) -> Learned | None:
    """What was learned of this account (a client's fingerprint of host and key), or None."""
    if account is None:
        return None
    try:
        return Learned.model_validate(_read(home / NAME)[account])
    except (KeyError, TypeError, ValidationError):
        return None


def write_learned(home: Path, account: str, learned: Learned) -> Path:
    """Keep it beside what was learned of other accounts, atomically.

    Raises:
        OSError: the folder cannot be written.
    """
    path = home / NAME
    home.mkdir(parents=True, exist_ok=True)
    known = _read(path) | {account: learned.model_dump(mode="json")}
    temporary = path.with_name(f"{NAME}.{os.getpid()}.part")
    temporary.write_text(json.dumps(known, indent=2) + "\n")
    temporary.replace(path)
    return path


def now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
