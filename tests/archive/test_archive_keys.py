from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.archive import Archive, ArchiveKeyInvalid, check_key, folder_for

WHEN = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
INGREDIENT = "fal-ai/ltx-2.3-quality/ingredient"


@pytest.mark.parametrize(
    "key", ["a", "2026/11/21/ingredient-0f3a/video.mp4", "é/日本.mp4", "with space/a-b_c.d", "x" * 200]
)
def test_plain_names_are_keys(key: str) -> None:
    """Letters of any script, digits, spaces inside, dots inside."""
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "../a",
        "a/../b",
        "a/.",
        ".hidden",
        "a/.ltx-1.part",
        "a\\b",
        "C:/a",
        "a\nb",
        "a\x00b",
        "a\u202eb",
        "\ud800",
        " a",
        "a ",
        "a.",
        "a?b",
        "a*",
        "x" * 201,
        "é" * 101,
        "/".join(["x" * 100] * 10),
    ],
)
def test_what_could_leave_the_archive_or_hide_in_it_is_no_key(key: str) -> None:
    """Relative, visible, printable, of bounded length, and the same on every system."""
    with pytest.raises(ArchiveKeyInvalid) as refused:
        check_key(key)
    assert "\n" not in str(refused.value)


@given(key=st.text(max_size=80), endpoint=st.text(max_size=200))
def test_every_folder_is_a_safe_key(key: str, endpoint: str) -> None:
    """Whatever a key or an endpoint holds, the folder made of it is safe, or it is refused."""
    try:
        folder = folder_for(key, endpoint, WHEN)
    except ArchiveKeyInvalid:
        assert not any(character.isascii() and character.isalnum() for character in key)
        return
    assert check_key(folder) == folder
    assert folder.startswith("2026/11/21/")
    assert folder.count("/") == 3


def test_a_generations_folder_depends_on_its_beginning_only() -> None:
    """Day in UTC, endpoint, first 16 characters of the key: the same for every run that finishes it."""
    assert folder_for("0123456789abcdef" * 4, INGREDIENT, WHEN) == "2026/11/21/ingredient-0123456789abcdef"
    in_tokyo = WHEN.astimezone(timezone(timedelta(hours=9)))
    assert folder_for("0123456789abcdef" * 4, INGREDIENT, in_tokyo).startswith("2026/11/21/")
    with pytest.raises(ArchiveKeyInvalid, match="time zone"):
        folder_for("k", INGREDIENT, datetime(2026, 11, 21))


@pytest.mark.parametrize(
    "web_url",
    [
        "https://user:secret@cdn.test/films",
        "https://cdn.test/films?X-Amz-Signature=secret",
        "https://cdn.test/films#secret",
        "ftp://cdn.test/films",
        "cdn.test",
        "https://cdn.test/a secret",
    ],
)
def test_links_keep_no_secret(web_url: str) -> None:
    """An artifact keeps the link: an address with a user or a query is refused, and not quoted."""
    with pytest.raises(ArchiveKeyInvalid, match="PREFECT_LTX_ARCHIVE_URL") as refused:
        Archive("/tmp/films", web_url=web_url)
    assert "secret@" not in str(refused.value)
    assert "Signature" not in str(refused.value)
    assert Archive("/tmp/films", web_url="").link("a/video.mp4") == ""  # as an empty variable says it
    link = Archive("/tmp/films", web_url="https://cdn.test/my@films/").link("a b/video.mp4")
    assert link == "https://cdn.test/my@films/a%20b/video.mp4"
