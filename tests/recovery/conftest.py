"""What picks up what others left, against an embedded fal, without Prefect."""

from generation_parts import make_request, services

__all__ = ["make_request", "services"]
