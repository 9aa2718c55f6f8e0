"""Whatever somebody writes: a list of problems or the very same values, never a traceback, never a silent change.

The work is bounded by what is counted (bytes, values, levels), so no test here needs a clock.
"""

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prefect_ltx.batch import Batch, BatchInvalid, read_batch
from prefect_ltx.batch.cells import row_from_cells
from prefect_ltx.cli.request_file import RequestFileError, read_row
from prefect_ltx.fal import FalRequestInvalid
from prefect_ltx.film import StoryboardInvalid, read_storyboard
from prefect_ltx.inbox import Inbox
from prefect_ltx.inbox.defaults import Defaults, DefaultsInvalid
from prefect_ltx.media import RecipeUnreadable, read_recipe
from prefect_ltx.reading import Unreadable, read_json, read_table, read_yaml, text_of

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".yaml", ".xlsx")
FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
ROW = {"prompt": "a cup", "image_url": "https://h.test/s.png", "num_frames": 9, "seed": 7, "tags": ["x"]}
PAGES = [
    json.dumps([ROW, {**ROW, "id": "ä", "resolution": {"width": 64, "height": 64}}]),
    "\n".join(json.dumps({**ROW, "seed": seed}) for seed in (1, 2)),
    'id,prompt,image_url,seed,num_frames,resolution\na,"a, b",https://h.test/s.png,7,9,64x64\n',
    "defaults: {image_url: 'https://h.test/s.png'}\nmatrix: {seeds: 1..3}\nrows:\n- &r {prompt: a}\n"
    "- {<<: *r, num_frames: 9}\n",
    "title: T\nresolution: {width: 128, height: 128}\ncast:\n  a: {look: x, images: ['https://h.test/s.png']}\n"
    "shots:\n- {id: one, text: a walks, seed: 3, settings: {guidance_scale: 2}}\n",
    "name: mine\noutputs:\n- {kind: poster}\n",
]
# What has a meaning to one of the readers, and what each of them has stumbled over.
BITS = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            '"',
            "'",
            "\n",
            "\r",
            "\t",
            " ",
            "- ",
            "<<: ",
            "*r",
            "&r ",
            "!!int ",
            "---\n",
            "#",
        ),
        *(
            "\\ud83d",
            "\ud83d",
            "\\u0000",
            "\0",
            "\u00a0",
            "\u200b",
            "\ufeff",
            "\u2028",
            "🎬",
            "=",
            ";",
            "sep=;\n",
        ),
        *(
            "010",
            "1e999",
            "1.23E+12",
            "-0",
            "NaN",
            ".inf",
            "1:30",
            "0x1F",
            "9" * 25,
            "9" * 5000,
            "1_0",
            "[" * 2000,
        ),
        *(
            "seed",
            "seed: 1\n",
            '"seed": 1,',
            "prompt",
            "width",
            "tags",
            "Video URL",
            "extra_arguments",
            "shots",
            "rows",
        ),
        *("null", "no", "~nobody/", "data:,"),
    ]
)
TEXT = st.one_of(st.text(max_size=40), BITS)


@st.composite
def pages(draw: st.DrawFn) -> str:
    """A page that is right, cut and patched; or nothing that makes sense."""
    text = draw(st.sampled_from([*PAGES, ""]))
    for _ in range(draw(st.integers(0, 3))):
        at, much = draw(st.integers(0, len(text))), draw(st.sampled_from([0, 0, 1, 3, 20]))
        text = text[:at] + draw(TEXT) + text[at + much :]
    return text


@st.composite
def files(draw: st.DrawFn) -> bytes:
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"]))
    errors = "surrogatepass" if encoding.startswith("utf") else "replace"
    data = draw(pages()).encode(encoding, errors)
    return draw(st.binary(max_size=30)) if draw(st.integers(0, 9)) == 0 else data


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def written(batch: Batch) -> list[dict[str, Any]]:
    """A batch's rows as a list of mappings, which is a batch again."""
    return [
        {
            "endpoint": row.request.ENDPOINT,
            "id": row.id,
            "tags": list(row.tags),
            **row.request.model_dump(mode="json", exclude_unset=True),
        }
        for row in batch.rows
    ]


def check_lines(*lines: str) -> None:
    """Something is said, each on one line that every file and terminal takes."""
    assert lines
    assert all(line and "\n" not in line and line.encode() for line in lines)


def rows_of(batch: Batch) -> list[Any]:
    return [(row.request, row.id, row.tags) for row in batch.rows]


@FUZZ
@given(files(), st.sampled_from(SUFFIXES))
def test_every_file_is_a_batch_or_a_list_of_problems(tmp_path: Path, data: bytes, suffix: str) -> None:
    """Each reading ends in rows that, written out and read again, are the same, or in problems, each of one line."""
    path = tmp_path / f"b{suffix}"
    path.write_bytes(data)
    try:
        found = read_batch(path, most=50)
    except BatchInvalid as error:
        check_lines(*map(str, error.problems))
        return
    again = tmp_path / "again.jsonl"
    again.write_text("\n".join(json.dumps(each) for each in written(found)))
    assert rows_of(read_batch(again)) == rows_of(found)


@FUZZ
@given(pages())
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("a: &a [*a]")
@example("9" * 5000)
@example('{"seed": ' + "9" * 5000 + "}")
@example("- " * 5000)
@example("{" * 5000)
def test_every_text_is_a_document_or_one_line(text: str) -> None:
    """JSON and YAML give plain JSON values that are written out and read again as the same, or say what is wrong."""
    for read in (read_json, read_yaml):
        try:
            document = read(text)
        except Unreadable as error:
            check_lines(str(error))
            continue
        for fault in document.told():
            assert fault.what
        if not document.faults:
            again = json.dumps(document.value, allow_nan=False)
            assert read_json(again).value == document.value
            assert not read_json(again).faults
    table = read_table(text.replace("\ud83d", ""))
    assert all(each.what for each in table.problems)


@FUZZ
@given(JSON)
def test_what_is_right_is_read_as_it_is(value: Any) -> None:
    """No reader changes a value: JSON, JSON inside of YAML and YAML give what was written."""
    told = f"{value!r}"
    texts = [
        (json.dumps(value), read_json),
        (json.dumps(value, ensure_ascii=False), read_json),
        (yaml.safe_dump(value), read_yaml),
    ]
    if not {"\x85", "\u2028", "\u2029"} & set(json.dumps(value, ensure_ascii=False)):
        texts.append((yaml.safe_dump(value, allow_unicode=True), read_yaml))
    for text, read in texts:
        document = read(text)
        if any(isinstance(each, float) and abs(each) >= 2**53 for each in _leaves(value)):
            continue  # refused where it is a whole number that is not exact
        assert not document.faults, (told, document.faults)
        assert _same(document.value, value), told


@FUZZ
@given(pages())
def test_every_other_reader_names_what_is_wrong(tmp_path: Path, text: str) -> None:
    """Storyboards, recipes, request files, the defaults of an inbox, cells: an error of their own, or a value."""
    data = text.encode("utf-8", "surrogatepass")
    for name in ("recipe.yaml", "request.json", "defaults.yaml"):
        (tmp_path / name).write_bytes(data)
    attempts: list[tuple[Callable[[], Any], tuple[type[Exception], ...]]] = [
        (lambda: read_storyboard(text), (StoryboardInvalid,)),
        (lambda: read_recipe(tmp_path / "recipe.yaml"), (RecipeUnreadable,)),
        (lambda: read_row(tmp_path / "request.json"), (RequestFileError, FalRequestInvalid)),
        (lambda: asyncio.run(Defaults.load(Inbox(str(tmp_path)), "defaults.yaml")), (DefaultsInvalid,)),
        (lambda: text_of(data), (Unreadable,)),
        (lambda: row_from_cells({"extra_arguments": text, "tags": text, "generate_audio": text}), ()),
    ]
    for attempt, expected in attempts:
        try:
            attempt()
        except expected as error:
            check_lines(str(error))


@FUZZ
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prompt": st.text(
                    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
                ).map(lambda t: f"x{t}"),
                "image_url": st.just("https://h.test/s.png"),
                "seed": st.integers(0, 2**63 - 1),
                "num_frames": st.integers(9, 481),
                "guidance_scale": st.floats(1, 20),
            }
        ),
        min_size=1,
        max_size=3,
    )
)
def test_every_form_of_a_batch_gives_the_same_requests(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """CSV, TSV, JSON, JSONL, YAML and a list: the same requests, whatever the texts hold."""
    import csv

    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with (tmp_path / f"b{suffix}").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, [*rows[0]], delimiter=delimiter)
            table.writeheader()
            table.writerows(rows)
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "b.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8"
    )
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(rows, allow_unicode=True), encoding="utf-8")
    wanted = [row.request for row in read_batch(rows).rows]
    for suffix in (".csv", ".tsv", ".json", ".jsonl", ".yaml"):
        assert [row.request for row in read_batch(tmp_path / f"b{suffix}").rows] == wanted, suffix


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same kinds: 1 and True and 1.0 are three things here."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=0)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_depth_is_bounded_by_count(tmp_path: Path, suffix: str) -> None:
    """Sixty-four levels are read, and sixty-five are one line, in every reader."""
    for levels, fine in ((60, True), (70, False)):
        deep = "[" * levels + "]" * levels
        path = tmp_path / f"b{suffix}"
        path.write_text(json.dumps([ROW | {"extra_arguments": {"a": 0}}]).replace('"a": 0', f'"a": {deep}'))
        if fine:
            assert len(read_batch(path).rows) == 1
            continue
        with pytest.raises(BatchInvalid, match="nested deeper"):
            read_batch(path)
