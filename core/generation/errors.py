"""How a generation can stop short, beside fal's own errors: what happened, the money, the next step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefect_ltx.archive import ArchiveError
from prefect_ltx.fal import FalError
from prefect_ltx.ledger import Generation, LedgerError, State
from prefect_ltx.ledger.life.budget import dollars

if TYPE_CHECKING:
    from prefect_ltx.generation.store import RefusedTake


class GenerationStopped(Exception):
    """A generation did not get to its video in this run. `generation` is its row in the ledger."""

    def __init__(self, message: str, generation: Generation) -> None:
        super().__init__(message)
        self.message = message
        self.generation = generation

    def __reduce__(self) -> tuple[type["GenerationStopped"], tuple[str, Generation]]:
        return type(self), (self.message, self.generation)


class GenerationParked(GenerationStopped):
    """Nobody can tell whether fal accepted the request; a person has to decide. Never sent again by itself."""


class PaidVideoLost(GenerationStopped):
    """fal said twice, minutes apart, that it no longer has what it made. Never bought again by itself."""


class AcceptedNotRecorded(GenerationStopped):
    """fal accepted the request, and the ledger cannot be written. The request id is in the message and is kept."""


class StillWaiting(GenerationStopped):
    """The waiting budget ran out, or fal fails to say how the job ended; the next run or sweep goes on with it."""


class GenerationEnded(GenerationStopped):
    """fal ended the generation without a video: failed, or cancelled."""


class QualityRejected(Exception):
    """The video is paid for and archived, and the run's quality policy refuses it. Running again pays nothing."""

    def __init__(self, generation_id: str, place: str, reasons: Sequence[str], tried: str = "") -> None:
        self.generation_id = generation_id
        self.place = place
        self.reasons = tuple(reasons)
        self.tried = tried
        super().__init__(
            f"Generation {generation_id} was made, paid for and archived in {place}, and quality control refuses "
            f"it: {'; '.join(self.reasons)}. {f'{tried}. ' if tried else ''}Look at it there: a run with "
            "quality=warn takes it as it is and pays nothing; another seed makes and buys a new take."
        )

    def __reduce__(self) -> tuple[type["QualityRejected"], tuple[str, str, tuple[str, ...], str]]:
        return type(self), (self.generation_id, self.place, self.reasons, self.tried)


class TakeNotMade(Exception):
    """Another seed could not be tried; those before it are paid for, archived and refused. `error` says why not."""

    def __init__(self, message: str, error: Exception, refused: "Sequence[RefusedTake]") -> None:
        super().__init__(message)
        self.message = message
        self.error = error
        self.refused = tuple(refused)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.error, self.refused)


def what_happened(error: BaseException) -> str:
    """What an error says beside the money. One step's "nothing was spent" is not the truth about a whole run."""
    what = error.what if isinstance(error, FalError | LedgerError | ArchiveError) else str(error)
    return what.rstrip(". ") or type(error).__name__


def money_of(error: BaseException, generation: Generation | None = None) -> str:
    """What the member of a run that ended with `error` may have cost, in words; `generation` is its row."""
    if isinstance(error, GenerationStopped):
        generation = error.generation
    if generation is not None and generation.held_usd:
        if generation.settled_usd is not None:
            return f"{dollars(generation.settled_usd)} billed"
        return f"may have cost up to {dollars(generation.held_usd)}"
    if isinstance(error, QualityRejected):
        return "paid for and archived"
    if generation is None and isinstance(error, FalError) and error.billed != "no":
        return "billed" if error.billed == "yes" else "may have been billed"
    return "cost nothing"


def unsent(generation: Generation) -> GenerationStopped:
    """The error for a generation that, as far as anybody can tell, never got to fal."""
    return GenerationStopped(
        f"Generation {generation.id} was not submitted: fal has no request of it. Not billed. Submit the same "
        "request again to make it.",
        generation,
    )


def parked(generation: Generation) -> GenerationParked:
    """The error for a parked generation."""
    return GenerationParked(
        f"Generation {generation.id} is parked: {generation.reason or 'its submit cannot be accounted for'}. "
        f"It may have been billed (up to {dollars(generation.price_upper_usd)}). Look at fal's request history, then "
        f"`prefect-ltx ledger resolve {generation.id} --adopt REQUEST_ID`, or --absent where it never ran.",
        generation,
    )


def lost(generation: Generation) -> PaidVideoLost:
    """The error for a paid video that fal no longer has."""
    return PaidVideoLost(
        f"Generation {generation.id} is lost: fal said more than once that it no longer has the video of request "
        f"{generation.request_id} ({generation.reason or 'the result expired'}). Billed: "
        f"{dollars(generation.held_usd)}. Each sweep, and each run of the same request, asks fal for it again, for a "
        f"week. To buy it again: `prefect-ltx ledger resolve {generation.id} --write-off`, then run it again.",
        generation,
    )


def fails_to_say(generation: Generation) -> StillWaiting:
    """The error for a request that fal calls finished without saying how it ended."""
    return StillWaiting(
        f"Generation {generation.id}: fal says that request {generation.request_id} is finished and fails to say how "
        f"({generation.reason or 'its result route gives no answer'}; asked {generation.looks} times). It may be "
        f"billed (up to {dollars(generation.held_usd)}), and nothing is sent again. Each sweep asks again, and looks "
        "in fal's listing and billing.",
        generation,
    )


def no_request(generation: Generation) -> GenerationStopped:
    """The error for a row that should name fal's request and does not: no release of ours writes one."""
    return GenerationStopped(
        f"Generation {generation.id} is {generation.state} and names no request of fal's, so nobody can be asked "
        "about it. It may have been billed. Look at fal's request history, then `prefect-ltx ledger resolve "
        f"{generation.id} --adopt REQUEST_ID`, or --write-off.",
        generation,
    )


def not_recorded(
    generation: Generation, request_id: str, why: str, *, is_accepted: bool
) -> AcceptedNotRecorded:
    """The error for a request that fal has named, accepted or not, and that the ledger could not take."""
    accepted, billed = ("accepted", "will") if is_accepted else ("may have accepted", "would")
    return AcceptedNotRecorded(
        f"fal {accepted} generation {generation.id} as request {request_id}, and this cannot be recorded: {why}. It "
        f"{billed} be billed once (up to {dollars(generation.price_upper_usd)}). Mend the ledger, then run the same "
        "request again or `prefect-ltx sweep` on this machine: the id is kept in its work folder, and nothing is "
        "sent again.",
        generation,
    )


def ended(generation: Generation) -> GenerationEnded:
    """The error for a generation that fal ended without a video."""
    held = generation.held_usd
    money = "Not billed." if held == 0 else f"May have been billed (up to {dollars(held)})."
    what = "was cancelled" if generation.state is State.CANCELLED else "failed"
    return GenerationEnded(
        f"Generation {generation.id} {what} at fal: {generation.reason or 'no reason given'}. {money}",
        generation,
    )
