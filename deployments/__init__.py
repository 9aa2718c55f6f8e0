"""Deployments to start from: `prefect.yaml` beside this file, which also travels in the wheel.

`prefect deploy --all --prefect-file $(python -m prefect_ltx.deployments)` deploys all of them.
"""

from pathlib import Path

PREFECT_FILE = Path(__file__).with_name("prefect.yaml")
"""The prefect.yaml of this package."""
