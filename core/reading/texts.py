"""Bytes as text: UTF-8, whatever ends a line; for every other encoding and for what is no text the remedy."""

from typing import Final

from prefect_ltx.fal.sendable import why_not_text
from prefect_ltx.reading.problems import Place, Unreadable

MOST_BYTES: Final = 64 << 20

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_MAGIC: Final = (
    (
        b"PK\x03\x04",
        "a workbook or another ZIP file: give a workbook the ending .xlsx, or save it as “CSV UTF-8”",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "an old or protected Office file: save it without a password as .xlsx or “CSV UTF-8”",
    ),
    (b"%PDF", "a PDF: give the table or the text itself"),
    (b"\x1f\x8b", "compressed (gzip): unpack it first"),
)


def text_of(data: bytes) -> str:
    """The text of a file, every line ended by a line feed, without a byte order mark.

    Raises:
        Unreadable: it is no text in UTF-8; the message says what to do.
    """
    for start, what in _MAGIC:
        if data.startswith(start):
            raise Unreadable(f"it is {what}")
    if data.startswith(_UTF16) or (len(data) > 3 and (data[1::2][:200].count(0) * 2 > len(data[1::2][:200]))):
        raise Unreadable(
            "it is not text in UTF-8 but in UTF-16, which Excel calls “Unicode Text”: save it as “CSV UTF-8”, or "
            "convert it with iconv -f UTF-16 -t UTF-8"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        raise Unreadable(
            "it is not text in UTF-8; a file of an older Windows or Excel is in CP1252: save it as “CSV UTF-8”, or "
            "convert it with iconv -f CP1252 -t UTF-8",
            Place(line, column),
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def check_text(text: str) -> None:
    """Refuse a text that no parser should see.

    Raises:
        Unreadable: NUL or half a character in it, by line and column.
    """
    if why := why_not_text(text):
        at = next(number for number, character in enumerate(text) if why_not_text(character))
        raise Unreadable(why, place_of(text, at))


def place_of(text: str, at: int) -> Place:
    """The line and column of a character."""
    return Place(text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1)
