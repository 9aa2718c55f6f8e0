"""A house style as a Prefect block: which endpoint, which defaults, on whose account; and a run of it as a handle."""

from contextlib import AsyncExitStack
from typing import Any, ClassVar

from prefect.blocks.abstract import JobBlock, JobRun
from prefect.runtime import flow_run
from pydantic import Field, HttpUrl, JsonValue, field_validator

from prefect_ltx.blocks._forms import LOGO, page
from prefect_ltx.blocks.dispatch import either_way
from prefect_ltx.blocks.services import BlockNames, services_for
from prefect_ltx.fal import EndpointName, FrameRule, GenerationRequest, parse_request
from prefect_ltx.generation import (
    ArchivedGeneration,
    Order,
    begin,
    cancel,
    finish,
    hold,
    outcome,
    plain_steps,
    prepare,
)
from prefect_ltx.ledger import Generation, Owner, State
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.media import recipe_named


class GenerationRun(JobRun):  # type: ignore[type-arg]  # with one, Prefect registers `JobRun[…]` as well
    """A generation that was triggered from a preset: to wait for, to fetch, to cancel.

    Everything about it is in the ledger; `generation_id` is all that another process needs to `attach` to it.
    """

    def __init__(self, generation: Generation, names: BlockNames, *, recipe: str) -> None:
        self.generation_id = generation.id
        self.request_id = generation.request_id
        self.seed = generation.seed
        self._names = names
        self._recipe = recipe
        self._owner = Owner.here(announces_posts=True)

    def __repr__(self) -> str:
        return f"GenerationRun({self.generation_id!r}, request_id={self.request_id!r}, seed={self.seed})"

    @either_way
    async def wait_for_completion(self) -> None:  # type: ignore[override]  # Prefect's says it gives a Logger
        """Wait until fal has the video. Free, and may be interrupted and repeated.

        Raises:
            StillWaiting: the queue or run budget ran out; the job goes on, and the next wait or sweep goes on.
            FalValidationError, FalGenerationFailed, GenerationEnded: it ended without a video.
            PaidVideoLost: fal made the video and no longer has it.
        """
        async with (
            services_for(self._names) as services,
            hold(services, self.generation_id, self._owner) as generation,
        ):
            outcome(await plain_steps(services).wait(generation))
        self.logger.info("fal has the video of generation %s", self.generation_id)

    @either_way
    async def fetch_result(self) -> ArchivedGeneration:
        """The archived video: collected, verified, rendered and archived now, unless it is in the archive already.

        Waits for fal where it has not finished. Quality control is what the flows add to this.

        Raises:
            FalError, GenerationStopped, MediaError, ArchiveError: each says what happened, whether money was
                spent, and what to do next.
        """
        async with (
            services_for(self._names) as services,
            hold(services, self.generation_id, self._owner) as generation,
        ):
            order = Order(self._owner, recipe=self._recipe)
            found = await finish(plain_steps(services), generation, order)
        self.logger.info("Archived in %s/%s", found.archive, found.folder)
        return found

    @either_way
    async def cancel(self) -> str:
        """Cancel the paid job at fal; gives the generation's state afterwards. Idempotent.

        A job in the queue never runs and costs nothing; one that is running may be billed; one that is finished
        stays, and is collected by `fetch_result` or the sweep.

        Raises:
            FalError: fal could not be asked; the wish is recorded, and the sweep asks again.
        """
        async with services_for(self._names) as services:
            after = await cancel(services, self.generation_id, self._owner, by="preset run cancelled")
        self.logger.warning(
            "Generation %s is %s; held for it: %s", after.id, after.state, dollars(after.held_usd)
        )
        return str(after.state)


class GenerationPreset(JobBlock):  # type: ignore[type-arg]  # with one, Prefect registers `JobBlock[…]` as a block
    """A way of making videos that keeps its settings: the endpoint, its defaults, the style, and whose account.

    Edit it in the UI, and trigger it from any flow: what is triggered goes through the same ledger as everything
    else, so the same request with the same seed is paid for once.

    Example:
        Load the stored block and make a video with it:

        ```python
        from prefect_ltx.blocks import GenerationPreset

        preset = GenerationPreset.load("BLOCK_NAME")


        async def make(prompt, sheet):
            run = await preset.trigger(prompt=prompt, image_url=sheet)
            await run.wait_for_completion()
            return await run.fetch_result()
        ```
    """

    _block_type_name: ClassVar[str] = "LTX Generation Preset"
    _block_type_slug: ClassVar[str] = "ltx-generation-preset"
    _documentation_url: ClassVar[HttpUrl] = page("events")
    _logo_url: ClassVar[HttpUrl] = LOGO
    _description: ClassVar[str] = (
        "A way of making LTX-2.3 videos on fal: endpoint, defaults, style, account and archive."
    )

    endpoint: EndpointName = Field(
        default="ingredient",
        title="Endpoint",
        description="Which model: ingredient keeps a reference sheet, reference-video-to-video a motion.",
    )
    defaults: dict[str, JsonValue] = Field(
        default_factory=dict,
        title="Defaults",
        description="Fields of the request that a trigger need not name, by fal's names.",
    )
    style: str = Field(
        default="",
        title="House style",
        description="Text that is put after every prompt.",
        json_schema_extra={"format": "textarea"},
    )
    credentials: str = Field(
        default="",
        title="Credentials",
        description="Name of a fal Credentials block; empty for FAL_KEY and PREFECT_LTX_FAL_URL.",
    )
    ledger: str = Field(
        default="",
        title="Ledger",
        description="Name of a Generation Ledger block; empty for PREFECT_LTX_LEDGER.",
    )
    archive: str = Field(
        default="",
        title="Archive",
        description="Name of a Video Archive block; empty for PREFECT_LTX_ARCHIVE.",
    )
    budget: str = Field(
        default="",
        title="Budget",
        description="Name of a Spending Budget block; empty for PREFECT_LTX_BUDGET_USD.",
    )
    recipe: str = Field(
        default="web",
        title="Recipe",
        description="Which renditions to make: web, social, broadcast, review or none.",
    )
    tags: list[str] = Field(
        default_factory=list,
        title="Tags",
        description="Words to find its generations by in the ledger; budgets may be set for a tag.",
    )
    frame_rule: FrameRule = Field(
        default="as_is",
        title="Frame rule",
        description="What to do with a frame count that is not 8k+1: as_is, nearest or floor.",
    )

    @field_validator("recipe")
    @classmethod
    def _known_recipe(cls, name: str) -> str:
        recipe_named(name)
        return name

    def request(self, **overrides: Any) -> GenerationRequest:
        """The request that a trigger with these fields would send; nothing is read, sent or spent.

        Raises:
            FalRequestInvalid: a field is missing, unknown or out of its range; by field.
        """
        fields = {**self.defaults, **{name: value for name, value in overrides.items() if value is not None}}
        if self.style and isinstance(fields.get("prompt"), str):
            fields["prompt"] = f"{fields['prompt'].rstrip()} {self.style.strip()}"
        return parse_request(fields, self.endpoint)

    @either_way
    async def trigger(self, **overrides: Any) -> GenerationRun:
        """Submit a generation once, or find the one that was paid for, and give a handle of it.

        Args:
            overrides: fields of the request, by fal's names; they come before the preset's defaults. Media may be
                local paths, `s3://`, `https://` or data URIs. Without a seed one is drawn from the flow run, so
                that a retry finds its own: two videos of one request in one run need two seeds.

        Raises:
            FalRequestInvalid: a field or a media input cannot be used; nothing was sent or spent.
            BudgetExceeded: the price does not fit; nothing was sent.
            FalError: fal refused the request or could not be reached; not billed.
            GenerationParked, PaidVideoLost: an earlier run of the same request needs a person.
        """
        request = self.request(**overrides)
        owner, run_id = Owner.here(announces_posts=True), flow_run.id
        order = Order(owner, run_id, tuple(self.tags))
        async with services_for(self._names()) as services, AsyncExitStack() as stay:
            ready = await prepare(
                services, request, owner=owner, frame_rule=self.frame_rule, seed_scope=run_id
            )
            for source in ready.inputs.values():
                stay.callback(source.discard)
            generation = await begin(plain_steps(services), ready, order, stay)
        if generation.state is State.ARCHIVED:
            self.logger.info("Paid for and archived already: generation %s", generation.id)
            return self._run(generation)
        self.logger.info(
            "Generation %s is request %s at fal: seed %d, %d megapixels, %s expected",
            generation.id,
            generation.request_id,
            generation.seed,
            ready.plan.estimate.megapixels,
            dollars(generation.price_expected_usd),
        )
        return self._run(generation)

    @either_way
    async def attach(self, request_id: str) -> GenerationRun:
        """A handle of a generation that was triggered before, by fal's request id or the ledger's id.

        Raises:
            GenerationNotFound: this preset's ledger has none of that name.
        """
        async with services_for(self._names()) as services:
            return self._run(await services.ledger.get(request_id))

    def _run(self, generation: Generation) -> GenerationRun:
        return GenerationRun(generation, self._names(), recipe=self.recipe)

    def _names(self) -> BlockNames:
        return BlockNames(
            credentials=self.credentials, ledger=self.ledger, archive=self.archive, budget=self.budget
        )
