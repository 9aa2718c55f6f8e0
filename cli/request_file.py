"""One request in a file, for `generate` and `takes`: read as a row of a batch is, from JSON or YAML."""

from pathlib import Path

from prefect_ltx.batch import BatchInvalid, Problem, Row, check_batch
from prefect_ltx.fal import FalRequestInvalid, FieldProblem, GenerationRequest
from prefect_ltx.settings import Settings


class RequestFileError(Exception):
    """A request file that cannot be read. Nothing was sent or spent."""


def read_row(source: str | Path, endpoint: str | None = None, *, look_for_files: bool = True) -> Row:
    """The one request of a file, with its tags.

    Raises:
        RequestFileError: no file, not readable, or not one request.
        FalRequestInvalid: fields are wrong; the message has a part for each.
    """
    try:
        found = check_batch(source, endpoint=endpoint, look_for_files=look_for_files)
    except BatchInvalid as error:
        text = "; ".join(each.what for each in error.problems)
        raise RequestFileError(
            f"{text[:1].upper()}{text[1:]}." if text.startswith("cannot read") else f"{error.name}: {text}."
        ) from None
    if not found.is_one:
        raise RequestFileError(
            f"{found.source}: one JSON object is needed, not a list of requests or nothing; `prefect-ltx batch` "
            "makes many."
        )
    if found.problems:
        raise FalRequestInvalid(
            f"{found.source} holds no request that can be sent",
            fields=[
                FieldProblem((each.column,) if each.column else (), _told(each)) for each in found.problems
            ],
        )
    return found.batch.rows[0]


def read_request(source: str | Path, endpoint: str | None = None) -> GenerationRequest:
    """The request of `read_row`; its files are looked for when it is made."""
    return read_row(source, endpoint, look_for_files=False).request


def read_payable_row(source: str | Path, endpoint: str | None = None) -> Row:
    """The one request of a file, where there is an account to pay for it.

    Raises:
        SettingsError: no account is set, which is said before what is wrong with fields.
        RequestFileError, FalRequestInvalid: as `read_row`.
    """
    try:
        row = read_row(source, endpoint)
    except FalRequestInvalid:
        Settings().require_fal()
        raise
    Settings().require_fal()
    return row


def _told(problem: Problem) -> str:
    return f"{problem.what} (line {problem.line})" if problem.line else problem.what
