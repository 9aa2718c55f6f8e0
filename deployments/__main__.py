"""`python -m prefect_ltx.deployments` prints where prefect.yaml is."""

from prefect_ltx.deployments import PREFECT_FILE

print(PREFECT_FILE)
