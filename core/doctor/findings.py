"""What a check says: how bad it is, what it saw, and what helps. One line each, without secrets."""

from typing import Literal

from pydantic import BaseModel, field_validator

from prefect_ltx.fal import plain

Severity = Literal["ok", "info", "warning", "error"]


class Finding(BaseModel, frozen=True):
    """One thing that was looked at. `remedy` is empty where nothing is to be done."""

    check: str
    severity: Severity
    what: str
    remedy: str = ""

    @field_validator("what", "remedy")
    @classmethod
    def _without_secrets(cls, text: str) -> str:
        return plain(text, limit=600)


def ok(check: str, what: str) -> Finding:
    """It is as it should be."""
    return Finding(check=check, severity="ok", what=what)


def info(check: str, what: str, remedy: str = "") -> Finding:
    """Good to know."""
    return Finding(check=check, severity="info", what=what, remedy=remedy)


def warning(check: str, what: str, remedy: str) -> Finding:
    """It works, and something will go wrong one day."""
    return Finding(check=check, severity="warning", what=what, remedy=remedy)


def error(check: str, what: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check=check, severity="error", what=what, remedy=remedy)
