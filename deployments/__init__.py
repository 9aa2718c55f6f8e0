"""Deployments of every flow, their schedules and triggers, and automations: `prefect.yaml` and `automations.yaml`.

`prefect-ltx deploy` brings them to the Prefect server in use and changes nothing when run again. Plain
`prefect deploy --all --prefect-file $(python -m prefect_ltx.deployments)` deploys the same file.
"""

from pathlib import Path

PREFECT_FILE = Path(__file__).with_name("prefect.yaml")
"""The prefect.yaml of this package."""

AUTOMATIONS_FILE = Path(__file__).with_name("automations.yaml")
"""The automations of this package, as `prefect automation create --from-file` reads them."""
