"""What one task hands to the next: which generation, never a URL that expires and never a secret."""

from decimal import Decimal

from pydantic import BaseModel

from prefect_ltx.ledger import Generation


class GenerationHandle(BaseModel, frozen=True):
    """A submitted generation. Everything else of it is in the ledger, under `generation_id`."""

    generation_id: str
    key: str
    endpoint: str
    request_id: str | None
    seed: int
    state: str
    price_expected_usd: Decimal

    @classmethod
    def of(cls, generation: Generation) -> "GenerationHandle":
        """The handle of a row of the ledger."""
        return cls(
            generation_id=generation.id,
            key=generation.key,
            endpoint=generation.endpoint,
            request_id=generation.request_id,
            seed=generation.seed,
            state=str(generation.state),
            price_expected_usd=generation.price_expected_usd,
        )
