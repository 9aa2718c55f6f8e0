"""Tables for spreadsheets: texts stay texts, numbers stay numbers, a file is whole or not there."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ltx.table_files import (
    TABLE_FORMATS,
    TableFileInvalid,
    check_table_file,
    table_bytes,
    write_table,
)

COLUMNS = ("text", "number", "list")
SIGNS = "=+-@＝＋－＠"
FORMULAS = [
    *(f"{sign}1+1" for sign in SIGNS),
    *(
        f"{before}=1+1"
        for before in ("\t", "\r", "\n", "\r\n", " ", "\u00a0", "\u200b", "\ufeff", "\x00", " \t ")
    ),
    "\ttext",
    "\rtext",
    "=cmd|' /C calc'!A0",
    '@SUM(1+1)*cmd|"/C calc"!A0',
    '=HYPERLINK("http://evil.example","x")',
    "-2+3",
]
NUMBERS: list[Any] = [
    0,
    -5,
    7,
    Decimal("0.26964"),
    Decimal("-0.0048150"),
    Decimal("1E-9"),
    Decimal("12345678.1234567"),
    2**63 - 1,
    -(2**63),
]


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def cells(data: bytes) -> list[list[Any]]:
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    assert sheet is not None
    return [list(row) for row in sheet.iter_rows(min_row=2)]


def is_harmless(text: str) -> bool:
    return text == "" or (
        text[0] not in f"{SIGNS}\t\r\n" and text.strip(" \u00a0\u200b\ufeff\x00\t")[:1] not in SIGNS
    )


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_no_text_is_calculated(suffix: str) -> None:
    """What begins like a formula, behind whatever cannot be seen, gets an apostrophe, in lists and headers too."""
    rows = [{"text": each, "number": number, "list": [each, "b"]} for number, each in enumerate(FORMULAS)]
    data = table_bytes(COLUMNS, rows, suffix)
    if suffix == ".csv":
        found = [(row["text"], row["list"]) for row in read_csv(data)]
    else:
        table = cells(data)
        assert {cell.data_type for row in table for cell in row} <= {"s", "n", "inlineStr"}
        found = [(row[0].value, row[2].value) for row in table]
    assert len(found) == len(FORMULAS)
    for (text, several), formula in zip(found, FORMULAS, strict=True):
        assert text.startswith("'") or not formula.lstrip("\t\r\n")[:1], (text, formula)
        assert is_harmless(text), text
        assert is_harmless(several), several
    header = table_bytes(["=1+1"], [], ".csv").decode("utf-8-sig")
    assert header.startswith("'=1+1")


def test_a_text_that_is_cut_elsewhere_is_harmless_too() -> None:
    """Where the list separator is a semicolon or a tab, the tail of a text is a cell of its own."""
    text = 'cup;=1+1;" ";\t@A1; - 3'
    data = table_bytes(["text"], [{"text": text}]).decode("utf-8-sig").splitlines()[1]
    for part in data.replace("\t", ";").split(";"):
        assert part.strip(' "')[:1] not in SIGNS or not part.strip(' "'), part


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_numbers_stay_numbers(suffix: str) -> None:
    """Negative and tiny ones too, exact to the last digit; what Excel would round is a text in a workbook."""
    data = table_bytes(["number"], [{"number": each} for each in NUMBERS], suffix)
    if suffix == ".csv":
        found = [Decimal(row["number"]) for row in read_csv(data)]
        assert not any("E" in row["number"] for row in read_csv(data))
    elif suffix == ".jsonl":
        values = [json.loads(line, parse_float=Decimal)["number"] for line in data.splitlines()]
        assert all(not isinstance(each, str) for each in values)
        found = [Decimal(each) for each in values]
    else:
        (column,) = zip(*cells(data), strict=True)
        kinds = [cell.data_type for cell in column]
        assert kinds == ["n"] * (len(NUMBERS) - 2) + ["s"] * 2
        found = [Decimal(str(cell.value)) for cell in column]
    assert found == [Decimal(each) for each in NUMBERS]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(codec=None), max_size=30), min_size=1, max_size=5))
def test_any_text_can_be_written(texts: list[str]) -> None:
    """Half an emoji, NUL and control characters included; CSV and workbook open, and no row is lost."""
    rows = [{"text": each} for each in texts]
    assert len(read_csv(table_bytes(["number", "text"], rows))) == len(texts)
    assert len(cells(table_bytes(["number", "text"], rows, ".xlsx"))) == len(texts)
    lines = table_bytes(["text"], rows, ".jsonl").splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


def test_a_table_replaces_another_whole(tmp_path: Path) -> None:
    """No half of a file is ever there, a link's target is written, and what cannot be written is an OSError."""
    there = tmp_path / "real" / "ends.csv"
    there.parent.mkdir()
    there.write_text("old")
    link = tmp_path / "ends.csv"
    link.symlink_to(there)
    write_table(link, ["a"], [{"a": 1}])
    assert link.is_symlink()
    assert there.read_text("utf-8-sig") == "a\n1\n"
    assert [each.name for each in there.parent.iterdir()] == ["ends.csv"]
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError):
        write_table(full, ["a"], [{"a": 1}])
    assert full.is_symlink()


@pytest.mark.parametrize("name", ["ends.txt", "ends", "nowhere/ends.csv", "folder.csv"])
def test_a_place_where_none_can_be_is_known_before(tmp_path: Path, name: str) -> None:
    """Another form, a folder that is not there, a folder in the file's place."""
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableFileInvalid):
        check_table_file(tmp_path / name)
