"""What the environment says: one place for every `PREFECT_LTX_*` variable and `FAL_KEY`."""
