"""`prefect.yaml` and `automations.yaml` as they are read here: every key that is not understood is an error.

The files are in Prefect's own formats, so that `prefect deploy` and `prefect automation create` read them too. Prefect
ignores keys that it does not know; a mistyped `schedule` would then be no schedule at all.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from prefect_ltx.deployments.changes import DeployError

T = TypeVar("T")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorkPool(_Strict):
    """Where the runs of a deployment go."""

    name: str = "ltx"
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = Field(default_factory=dict)


class ConcurrencyLimit(_Strict):
    """How many runs of a deployment may be under way, and what becomes of one more."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"


class Schedule(_Strict):
    """When a deployment runs by itself. The slug is how a re-deployment finds it again."""

    slug: str
    replaces: str | None = None
    cron: str | None = None
    interval: float | None = Field(default=None, gt=0, description="Seconds.")
    rrule: str | None = None
    timezone: str = "UTC"
    active: bool
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_three(self) -> "Schedule":
        if sum(each is not None for each in (self.cron, self.interval, self.rrule)) != 1:
            raise ValueError("give exactly one of cron, interval and rrule")
        return self


class Deployment(_Strict):
    """One deployment: a flow of an installed package, and how it is run."""

    name: str
    entrypoint: str
    description: str | None = None
    version: str | None = None
    tags: list[str] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    work_pool: WorkPool = Field(default_factory=WorkPool)
    concurrency_limit: int | ConcurrencyLimit | None = None
    schedules: list[Schedule] = Field(default_factory=list)
    triggers: list[dict[str, Any]] = Field(default_factory=list)


class _PrefectFile(_Strict):
    name: str = ""
    pull: list[Any] = Field(default_factory=list, max_length=0)
    definitions: dict[str, Any] = Field(default_factory=dict)
    deployments: list[Deployment]


class _AutomationsFile(_Strict):
    automations: list[dict[str, Any]]


def read_deployments(path: Path) -> list[Deployment]:
    """The deployments of a prefect.yaml.

    Raises:
        DeployError: it cannot be read, or has something that is not understood, named by its place.
    """
    return _read(path, TypeAdapter(_PrefectFile)).deployments


def read_automations(path: Path) -> list[dict[str, Any]]:
    """The automations of an automations.yaml, as Prefect takes them.

    Raises:
        DeployError: it cannot be read.
    """
    return _read(path, TypeAdapter(_AutomationsFile)).automations


def _read(path: Path, model: "TypeAdapter[T]") -> T:
    try:
        return model.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DeployError(f"{path}: {error.strerror}. Nothing was changed.") from None
    except yaml.YAMLError as error:
        raise DeployError(
            f"{path} is no YAML: {' '.join(str(error).split())}. Nothing was changed."
        ) from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise DeployError(f"{path}: {problems}. Nothing was changed.") from None
