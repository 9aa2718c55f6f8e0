"""Cancelling the paid job of a generation, and writing down whether it was too late."""

from contextlib import suppress

from prefect_ltx.fal import FalError
from prefect_ltx.generation.asking import question_about, read_result, trust
from prefect_ltx.generation.lease import keep
from prefect_ltx.generation.services import Services
from prefect_ltx.generation.submit import settle_submit
from prefect_ltx.ledger import CancelRequested, Generation, Owner, State
from prefect_ltx.ledger.life.evidence import what_it_proves


async def cancel(services: Services, generation_id: str, owner: Owner, *, by: str) -> Generation:
    """Cancel one generation at fal. Idempotent, and safe beside a run that still waits for it.

    A generation in the queue never runs and costs nothing; one that is running may be billed; one that is
    finished stays, and the sweep collects what was paid for.

    Raises:
        FalError: fal could not be asked; the request to cancel is recorded and the sweep asks again.
        GenerationParked: nobody can tell whether fal has the request at all.
    """
    await services.ledger.record(generation_id, CancelRequested(by=by))
    generation = await services.ledger.get(generation_id)
    if generation.state in (State.INTENDED, State.UNKNOWN):
        claim = await services.ledger.take(generation_id, owner)
        if claim.outcome == "busy":
            return generation  # its living owner sees the request to cancel
        async with keep(services, generation_id, owner):
            generation = await settle_submit(services, claim.generation, owner, may_post=False)
    if generation.state is not State.SUBMITTED or generation.request_id is None:
        return generation
    question = question_about(services, generation)
    outcome = await services.client.cancel(generation.endpoint, generation.request_id)
    answered = what_it_proves("cancel", generation, question, outcome, trust(services))
    if answered is not None:
        await services.ledger.record(generation_id, answered)
    if outcome == "already_completed":
        with suppress(FalError):  # where it ended in an error of its own, that is recorded
            await read_result(services, generation)
    return await services.ledger.get(generation_id)
