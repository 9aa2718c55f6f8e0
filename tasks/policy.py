"""How tasks are cached and retried: what costs money is never repeated by Prefect."""

import hashlib
from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from prefect_ltx.archive import ArchiveUnavailable
from prefect_ltx.fal import FalDownloadError, FalUnavailable, FalUploadError
from prefect_ltx.generation import PlannedGeneration

FREE_TO_REPEAT = (FalUnavailable, FalUploadError, FalDownloadError, ArchiveUnavailable)
"""Errors after which the same step may be tried again without any risk to money."""


@dataclass
class GenerationCachePolicy(CachePolicy):
    """Prefect's cache key of a paid task: the generation's key, in this ledger, at this attempt.

    The generation's key contains the account, the endpoint, the seed and the sha256 of every media input. A task
    without a plan is not cached. Prefect runs a task whose key fails to compute, so the task computes the
    generation's key once more and stops before anything is sent where it cannot: the ledger decides about money,
    this policy only makes a hit visible as `Cached`.
    """

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """A file-name-safe sha256 in hex, or None where the task was given no plan."""
        plan = inputs.get("plan")
        if not isinstance(plan, PlannedGeneration):
            return None
        text = f"{plan.account}\n{plan.key}\n{plan.ledger_id}\n{plan.earlier_attempts}"
        return "ltx-" + hashlib.sha256(text.encode()).hexdigest()


async def free_to_repeat(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Retry condition: whether the step failed in a way that a repetition can mend at no cost."""
    try:
        await state.aresult()
    except FREE_TO_REPEAT:
        return True
    except BaseException:
        return False
    return False
