"""prefect.yaml as it is written: it names flows that exist, copies no code, and no schedule of it spends."""

import inspect
import json
from importlib import import_module
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import get_current_settings

from prefect_ltx import flows
from prefect_ltx.deployments import AUTOMATIONS_FILE, PREFECT_FILE

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


def test_every_flow_has_a_deployment() -> None:
    """Nothing that the package exports has to be deployed by hand."""
    assert set(DEPLOYMENTS) == {getattr(flows, name).name for name in flows.__all__}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_what_pays_says_so_and_runs_by_itself_only_when_switched_on(name: str) -> None:
    """A schedule must not spend by itself: of what takes an account and a budget it is off, and a tag says so."""
    deployment = DEPLOYMENTS[name]
    takes = inspect.signature(flow_of(deployment).fn).parameters
    pays = {"credentials", "budget"} <= set(takes)
    assert ("ltx-pays" in deployment["tags"]) == pays
    assert "ltx" in deployment["tags"]
    for schedule in deployment.get("schedules", []):
        assert schedule["active"] is False or not pays
    assert deployment["work_pool"].get("work_queue_name") == "generate" or not pays


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_what_pays_or_pauses_has_no_limit_that_could_end_it(name: str) -> None:
    """A deployment's limit is a lease that a pausing run loses and a restarted server ends: what pays has none."""
    deployment = DEPLOYMENTS[name]
    if "ltx-pays" in deployment["tags"]:
        assert "concurrency_limit" not in deployment


def test_the_sweep_runs_every_quarter_of_an_hour_and_nothing_is_refused_by_a_limit() -> None:
    """What was paid for is looked for soon enough. A limit's refusal looks like a cancelled run, so there is none."""
    (schedule,) = DEPLOYMENTS["sweep"]["schedules"]
    assert (schedule["cron"], schedule["active"]) == ("*/15 * * * *", True)
    assert not [name for name, each in DEPLOYMENTS.items() if "concurrency_limit" in each]


def test_automations_are_prefect_s_and_leave_slow_runs_alone() -> None:
    """Every automation is one of Prefect's, is about runs with this package's tag or its own events, and waits for
    several heartbeats before it calls a run crashed."""
    automations = yaml.safe_load(AUTOMATIONS_FILE.read_text())["automations"]
    frequency = get_current_settings().flows.heartbeat_frequency
    assert frequency is not None
    for each in automations:
        text = json.dumps(each).replace("{{ notify }}", "00000000-0000-0000-0000-000000000000")
        automation = AutomationCore.model_validate_json(text)
        assert isinstance(automation.trigger, EventTrigger)
        own = all(name.startswith("ltx.") for name in automation.trigger.expect)
        assert own or each["trigger"]["match_related"]["prefect.resource.id"] == "prefect.tag.ltx"
        if automation.trigger.posture is Posture.Proactive:
            assert automation.trigger.within.total_seconds() >= max(600, 3 * frequency)
