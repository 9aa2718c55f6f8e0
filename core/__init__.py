"""LTX-2.3 video generation on fal as a Prefect collection."""
