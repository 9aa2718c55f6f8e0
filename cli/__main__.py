"""`python -m prefect_ltx.cli` is `prefect-ltx`."""

from prefect_ltx.cli import main

main()
