import copy
import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import (
    FalDownloadError,
    FalError,
    FalGenerationFailed,
    FalRateLimited,
    FalRequestInvalid,
    FalSubmitUnknown,
    FalUnavailable,
    FalValidationError,
    FieldProblem,
    errors,
    plain,
    strip_url,
)

CLASSES = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, FalError) and not one.__name__.startswith("_")
]
SECRETS = [
    ("https://s3.example/v.mp4?X-Amz-Signature=s3cr3t&x=1", "https://s3.example/v.mp4"),
    ("https://user:s3cr3t@s3.example/v.mp4#s3cr3t", "https://s3.example/v.mp4"),
    ("Authorization: Key 12345678-s3cr3t-s3cr3t:s3cr3t", "<hidden>"),
    ("3c1b9e3a-0000-4000-8000-7f6a1c5f0d11:0123456789abcdef", "<key>"),
    ("got data:video/mp4;base64,s3cr3ts3cr3t back", "data:video/mp4"),
    ("Bearer s3cr3t.s3cr3t", "<hidden>"),
    ("file:///videos/a.mp4?s3cr3t", "file:///videos/a.mp4"),
    ("postgresql://me:s3cr3t@/ledger?host=/run/s3cr3t", "postgresql:///ledger"),
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_one_line_with_the_money_and_the_next_step(kind: type[FalError]) -> None:
    """What happened, what it may have cost and what to do next stand in one line of every error."""
    line = str(kind("It went\n wrong.", request_id="id-1"))
    assert line.startswith("It went wrong [request id-1]. ")
    assert re.search(
        r"(Not billed|May have been billed|This call cost nothing|A webhook costs nothing)", line
    )
    assert "\n" not in line
    assert kind is FalError or kind.default_next_step in line


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickle_and_copy(kind: type[FalError]) -> None:
    """An error that crosses a process keeps its class, its message and its attributes."""
    error = kind("x", request_id="id", status=500, billed="maybe")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), again.__dict__) == (str(error), error.__dict__)


def test_what_a_class_adds_survives_too() -> None:
    """Fields, waits and verdicts are still there after a pickle."""
    problem = FieldProblem(("body", "seed"), "bad", "int")
    made: list[FalError] = [
        FalValidationError("x", fields=[problem]),
        FalRateLimited("x", retry_after=2.5),
        FalGenerationFailed("x", error_type="t", retryable=True),
        FalDownloadError("x", gone=True),
    ]
    for error in made:
        assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__


@pytest.mark.parametrize("kind", CLASSES)
def test_the_tree_at_the_top_of_the_file_names_every_class(kind: type[FalError]) -> None:
    """The drawn tree is complete and its levels are the real ones."""
    tree = inspect.getdoc(errors) or ""
    [line] = re.findall(rf"^.*\b{kind.__name__}\b.*$", tree.split("What `FalClient.submit`")[0], re.MULTILINE)
    level = len(re.match(r"[ │├└─]*", line)[0]) // 4 - 1  # type: ignore[index]
    named = [one for one in kind.__mro__ if one in CLASSES]
    assert level == len(named) - 1


@pytest.mark.parametrize("kind", [FalRequestInvalid, FalUnavailable, FalSubmitUnknown, FalValidationError])
@pytest.mark.parametrize(("text", "kept"), SECRETS)
def test_no_secret_and_no_query_string_gets_into_a_message(
    kind: type[FalError], text: str, kept: str
) -> None:
    """Whatever fal quotes in its texts, a message shows the place and not the secret."""
    error = kind(f"fal says: {text}", next_step=text)
    for shown in (str(error), repr(error), repr(error.args), str(error.__dict__)):
        assert "s3cr3t" not in shown
        assert "0123456789abcdef" not in shown
    assert kept in str(error)


def test_field_problems_are_readable_and_clean() -> None:
    """A field problem reads `where: what (type)`, without the query of a URL that fal quotes."""
    problem = FieldProblem(
        ("body", "image_url"), "cannot read https://x.example/a?sig=s3cr3t", "file_download_error"
    )
    assert str(problem) == "body.image_url: cannot read https://x.example/a (file_download_error)"
    assert str(FieldProblem((), "odd")) == "odd"


def test_fals_own_sentences_stay_readable() -> None:
    """What looks like a credential only by its first word is left alone."""
    for text in (
        "Invalid Key Authorization header format.",
        "the token expired already",
        "basic understanding",
    ):
        assert plain(text) == text


@given(st.text())
def test_any_text_becomes_one_bounded_line(text: str) -> None:
    """Nothing that fal writes makes a message of several lines or of any length."""
    line = plain(text)
    assert len(line) <= 500
    assert len(line.splitlines()) <= 1


@given(st.text(max_size=40))
def test_stripping_never_raises(text: str) -> None:
    """A broken URL is stripped like any other."""
    for url in (text, f"https://{text}", f"https://x.example/{text}", f"data:{text}"):
        strip_url(url)


@given(st.from_regex(r"[A-Za-z0-9%&=._~-]{1,40}", fullmatch=True))
def test_no_query_survives_stripping(query: str) -> None:
    """Whatever a query holds, the stripped URL ends before it."""
    assert strip_url(f"https://x.example/a?{query}") == "https://x.example/a"
    assert plain(f"<https://x.example/a?{query}>") == "<https://x.example/a>"


def test_bad_input_is_a_value_error() -> None:
    """Code that expects Python's own error for bad input gets it."""
    with pytest.raises(ValueError, match="bad"):
        raise FalRequestInvalid("bad")
