"""The examples for containers, Kubernetes and ECS, checked as far as a machine without them can."""

import json
import re
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from prefect.utilities.templating import find_placeholders

from prefect_ltx.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deployments" / "examples"
TYPES = {"docker": "prefect-docker", "kubernetes": "prefect-kubernetes", "ecs": "prefect-aws"}
SETTINGS = {"FAL_KEY"} | {f"PREFECT_LTX_{name.upper()}" for name in Settings.model_fields}


def shipped(kind: str) -> dict[str, Any]:
    """The base job template of this work pool type, as the installed Prefect has it."""
    views = files("prefect.server.api") / "collections_data/views/aggregate-worker-metadata.json"
    found: dict[str, Any] = json.loads(views.read_text())[TYPES[kind]][kind]["default_base_job_configuration"]
    return found


def template(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / kind / "work-pool.json").read_text())
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_work_pool_template_has_what_prefect_s_worker_reads(kind: str) -> None:
    """Its job configuration has only keys that Prefect's own template of this type has, and names only variables it
    defines; each of those is one of Prefect's, of the same type, with a default that Prefect's schema takes."""
    ours, theirs = template(kind), shipped(kind)
    assert set(ours) == {"variables", "job_configuration"}
    assert set(ours["job_configuration"]) <= set(theirs["job_configuration"])
    named = {each.name for each in find_placeholders(ours["job_configuration"])}
    assert named == set(ours["variables"]["properties"])
    for name, variable in ours["variables"]["properties"].items():
        known = theirs["variables"]["properties"][name]
        assert variable["type"] == known["type"]
        assert variable.get("enum") == known.get("enum")
        if "default" in variable:
            jsonschema.validate(variable["default"], known)
    # What Prefect itself fills in for each run.
    assert {"name", "command", "labels", "env"} <= named


def test_kubernetes_job_is_prefect_s_job_with_more() -> None:
    """Prefect's own job manifest stays in ours, field by field; added are the secret, limits and a work folder."""
    ours = template("kubernetes")["job_configuration"]["job_manifest"]
    theirs = shipped("kubernetes")["job_configuration"]["job_manifest"]
    # Prefect's has these two in the pod, where Kubernetes knows no such fields; they are the job's.
    pod = theirs["spec"]["template"]["spec"]
    theirs["spec"] |= {name: pod.pop(name) for name in ("parallelism", "completions")}

    def within(part: Any, whole: Any) -> bool:
        if isinstance(part, dict):
            return all(name in whole and within(value, whole[name]) for name, value in part.items())
        if isinstance(part, list):
            return len(part) == len(whole) and all(map(within, part, whole))
        return bool(part == whole)

    assert within(theirs, ours)
    spec = ours["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in spec["volumes"]}
    named = {each["metadata"]["name"]: each for each in manifests() if each["kind"] == "Secret"}
    assert container["envFrom"][0]["secretRef"]["name"] in named


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes" / "worker.yaml").read_text()))


API_VERSIONS = {
    "Namespace": "v1",
    "Secret": "v1",
    "ServiceAccount": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "Deployment": "apps/v1",
}


def test_kubernetes_manifests_fit_together() -> None:
    """Kinds have their API versions, references name what is there, and the worker may make and watch jobs."""
    found = manifests()
    for each in found:
        assert each["apiVersion"] == API_VERSIONS[each["kind"]]
        assert each["metadata"].get("namespace", each["metadata"]["name"]) == "prefect-ltx"
    by = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(by) == len(found)
    properties = template("kubernetes")["variables"]["properties"]
    assert ("Namespace", properties["namespace"]["default"]) in by
    assert ("ServiceAccount", properties["service_account_name"]["default"]) in by

    worker = by["Deployment", "prefect-ltx-worker"]["spec"]
    assert worker["selector"]["matchLabels"].items() <= worker["template"]["metadata"]["labels"].items()
    pod = worker["template"]["spec"]
    assert ("ServiceAccount", pod["serviceAccountName"]) in by
    binding = by["RoleBinding", "prefect-ltx-worker"]
    assert ("Role", binding["roleRef"]["name"]) in by
    assert [each["name"] for each in binding["subjects"]] == [pod["serviceAccountName"]]
    rules = by["Role", "prefect-ltx-worker"]["rules"]
    verbs = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}
    assert {"create", "get", "list", "watch", "delete"} <= verbs["jobs"]
    assert {"get", "list", "watch"} <= verbs["pods"]
    assert "get" in verbs["pods/log"]

    secret = by["Secret", "prefect-ltx"]["stringData"]
    assert set(secret) <= SETTINGS | {"PREFECT_API_URL"}
    for container in pod["containers"]:
        for each in container["env"]:
            reference = each.get("valueFrom", {}).get("secretKeyRef")
            assert reference is None or reference["key"] in secret


def test_ecs_task_definitions_are_what_fargate_takes() -> None:
    """Sizes are a pair that Fargate has, the run's container has the pool's name, secrets are no plain values."""
    sizes = {256: range(512, 2049, 512), 1024: range(2048, 8193, 1024)}
    variables = template("ecs")["variables"]["properties"]
    for name in ("run", "worker"):
        task = json.loads((EXAMPLES / "ecs" / f"{name}-task-definition.json").read_text())
        assert task["family"] == f"prefect-ltx-{name}"
        assert task["networkMode"] == "awsvpc"
        assert task["requiresCompatibilities"] == ["FARGATE"]
        assert int(task["memory"]) in sizes[int(task["cpu"])]
        (container,) = task["containerDefinitions"]
        plain = {each["name"] for each in container["environment"]}
        secret = {each["name"]: each["valueFrom"] for each in container.get("secrets", [])}
        assert not plain & {"FAL_KEY", "PREFECT_LTX_LEDGER"}
        assert all(value.startswith("arn:aws:secretsmanager:") for value in secret.values())
        assert plain | set(secret) <= SETTINGS | {"PREFECT_API_URL", "DO_NOT_TRACK"}
        if name == "run":
            assert task["family"] == variables["task_definition_arn"]["default"]
            assert container["name"] == variables["container_name"]["default"]
            assert {"FAL_KEY", "PREFECT_LTX_LEDGER"} <= set(secret)
            roles = {task["executionRoleArn"], task["taskRoleArn"]}
    policy = json.loads((EXAMPLES / "ecs" / "worker-policy.json").read_text())
    (passing,) = [each for each in policy["Statement"] if each["Action"] == "iam:PassRole"]
    assert set(passing["Resource"]) == roles
    allowed = {
        action for each in policy["Statement"] for action in [each["Action"]] if isinstance(action, str)
    }
    allowed |= {
        action
        for each in policy["Statement"]
        if isinstance(each["Action"], list)
        for action in each["Action"]
    }
    assert {"ecs:RunTask", "ecs:StopTask", "ecs:DescribeTasks", "iam:PassRole"} <= allowed


KNOWN_INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "CMD"}


def instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (EXAMPLES / "docker" / "Dockerfile").read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, " ".join(rest.split())


def test_dockerfile_runs_as_nobody_special_and_has_no_secret() -> None:
    """Instructions are Docker's, copied files exist, the last user is not root, and no setting is baked in."""
    found = list(instructions())
    assert {name for name, _ in found} <= KNOWN_INSTRUCTIONS
    assert found[0][0] == "FROM"
    stages = [rest.split(" AS ")[1] for name, rest in found if name == "FROM" and " AS " in rest]
    for name, rest in found:
        if name == "COPY":
            assert (ROOT / rest.split()[0]).exists()
        for used in re.findall(r"from=(\w+)", rest):
            assert used in stages
        assert not re.search("|".join(SETTINGS), rest)
        assert "://" not in rest, "no host of an index belongs in a file"
    users = [rest for name, rest in found if name == "USER"]
    assert users == ["ltx"]
    assert [name for name, _ in found][-1] == "CMD"
    command = json.loads(found[-1][1])
    assert command[:3] == ["prefect", "worker", "start"]
    # Each RUN is shell that at least parses.
    for name, rest in found:
        if name == "RUN":
            shell = re.sub(r"^--mount=\S+ ", "", rest)
            assert subprocess.run(["sh", "-n", "-c", shell], check=False).returncode == 0


def test_compose_services_fit_together() -> None:
    """Services wait for those that are there, secrets come from the environment, and the worker's ledger is shared."""
    compose = yaml.safe_load((EXAMPLES / "docker" / "compose.yaml").read_text())
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services) - {name}
        for waited, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert not healthy or "healthcheck" in services[waited]
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]
        if "build" in service:
            build = service["build"]
            context = (EXAMPLES / "docker" / build["context"]).resolve()
            assert context == ROOT
            assert (context / build["dockerfile"]).is_file()
    worker = services["worker"]["environment"]
    assert worker["FAL_KEY"] == "${FAL_KEY:?}"
    assert worker["PREFECT_LTX_LEDGER"].startswith("postgresql://ltx:${POSTGRES_PASSWORD:?}@postgres/")
    assert {name for name in worker if name.startswith("PREFECT_LTX")} <= SETTINGS


def test_shell_and_unit_files_are_whole() -> None:
    """The worker's script parses, says what is missing, and the unit starts the same worker."""
    script = EXAMPLES / "process" / "worker.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    done = subprocess.run(["sh", str(script)], env={}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "PREFECT_API_URL" in done.stderr
    unit = (EXAMPLES / "process" / "ltx-worker.service").read_text()
    assert re.findall(r"^\[(\w+)\]$", unit, re.MULTILINE) == ["Unit", "Service", "Install"]
    assert "prefect worker start --pool ltx --type process" in unit


def test_no_example_holds_a_secret() -> None:
    """Every place of a secret in the examples is a reference or a word to replace."""
    for path in (each for each in EXAMPLES.rglob("*") if each.is_file()):
        for line in path.read_text().splitlines():
            if match := re.search(r"FAL_KEY\W+(?:value\W+)?[\"']?([\w-]+:[\w-]{8,})", line):
                assert match[1].startswith("aws"), f"{path.name}: {line}"
