"""prefect.yaml as it is written: it names flows that exist, copies no code, and no schedule of it spends."""

import inspect
from importlib import import_module
from typing import Any

import pytest
import yaml

from prefect_ltx.deployments import PREFECT_FILE

FILE: dict[str, Any] = yaml.safe_load(PREFECT_FILE.read_text())
DEPLOYMENTS = {each["name"]: each for each in FILE["deployments"]}


def flow_of(deployment: dict[str, Any]) -> Any:
    module, _, name = deployment["entrypoint"].partition(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_deployment_names_a_flow_of_the_installed_package(name: str) -> None:
    """A worker finds the flow by module path, without a copy of the repository."""
    flow = flow_of(DEPLOYMENTS[name])
    assert flow.name == name
    assert FILE["pull"] == []


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_parameters_are_parameters_of_the_flow(name: str) -> None:
    """What a schedule or a trigger gives to a flow is something the flow takes."""
    deployment = DEPLOYMENTS[name]
    takes = set(inspect.signature(flow_of(deployment).fn).parameters)
    for source in [deployment, *deployment.get("schedules", []), *deployment.get("triggers", [])]:
        assert set(source.get("parameters", {})) <= takes


def test_schedule_that_pays_is_off_and_its_request_has_a_seed() -> None:
    """A schedule must not spend by itself, and switched on it pays for one video, not for one a day."""
    schedules = DEPLOYMENTS["reference-video-to-video"]["schedules"]
    assert schedules
    for schedule in schedules:
        assert schedule["active"] is False
        assert isinstance(schedule["parameters"]["request"]["seed"], int)


def test_scheduled_example_is_a_valid_request() -> None:
    """The example in the file is a request that the flow accepts."""
    (schedule,) = DEPLOYMENTS["reference-video-to-video"]["schedules"]
    flow = flow_of(DEPLOYMENTS["reference-video-to-video"])
    assert flow.validate_parameters(schedule["parameters"])["request"].seed == 2026


def test_the_schedule_that_is_on_belongs_to_the_sweep() -> None:
    """What runs by itself is what submits nothing."""
    active = {
        name
        for name, deployment in DEPLOYMENTS.items()
        for schedule in deployment.get("schedules", [])
        if schedule["active"]
    }
    assert active == {"sweep"}
