"""What people really wrote, each kind with several members: refused by place before money is spent, or understood."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefect_ltx.batch import BatchInvalid, Problem, read_batch
from prefect_ltx.cli.request_file import RequestFileError, read_request, read_row
from prefect_ltx.fal import FalRequestInvalid, ImageSize, IngredientRequest, ReferenceVideoRequest
from prefect_ltx.film import StoryboardInvalid, load_storyboard, read_storyboard
from prefect_ltx.media import RecipeUnreadable, read_recipe

SHEET = "https://h.test/s.png"
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "sheet.png").touch()

    def written(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return path

    return written


def problems(source: Any, **how: Any) -> list[Problem]:
    with pytest.raises(BatchInvalid) as found:
        read_batch(source, **how)
    assert all(str(each).encode() for each in found.value.problems)
    return found.value.problems


def said(source: Any, **how: Any) -> str:
    return "\n".join(map(str, problems(source, **how)))


def row(**changes: Any) -> dict[str, Any]:
    return {"prompt": "a cup", "image_url": SHEET} | changes


def test_the_header_is_checked_whatever_the_rows_look_like(write: Write) -> None:
    """E1: misspelt columns are found when the first row is short, when every row is, and when there is none."""
    head = "prompt,image_url,num_frmes,resoluton\n"
    for rows in ("a,sheet.png\n", "a,sheet.png\na,sheet.png,9,64x64\n", "a\n", ""):
        found = problems(write("b.csv", head + rows))
        named = [each.column for each in found if each.where == "header"]
        assert named == ["num_frmes", "resoluton"], rows
        assert all(each.line == 1 for each in found if each.where == "header")
        assert [each.character for each in found if each.where == "header"] == [3, 4]


def test_a_short_row_is_refused_and_a_blank_end_is_not(write: Write) -> None:
    """E1: too few cells are no defaults; empty cells beyond the header, as spreadsheets write them, hold nothing."""
    head = "prompt,image_url,num_frames\n"
    assert "2 cells for 3 columns" in said(write("b.csv", head + "a,sheet.png\n"))
    assert "1 cell for 3 columns" in said(write("b.csv", head + "a\n"))
    (read,) = read_batch(write("b.csv", "prompt,image_url,num_frames,,\na,sheet.png,9,,\n,,,,\n")).rows
    assert read.request.num_frames == 9
    assert "3 cells for 2 columns" in said(write("b.csv", "prompt,image_url,\na,sheet.png,9\n"))
    assert "no name" in said(write("b.csv", "prompt,,image_url\na,9,sheet.png\n"))


def test_no_name_is_there_twice_in_any_reader(write: Write, tmp_path: Path) -> None:
    """E2: at the top, deep inside, in lists and in lines: the last one never wins, and the place is told."""
    one = f'{{"prompt": "a", "image_url": "{SHEET}",\n "num_frames": 9, "num_frames": 481}}'
    deep = f'{{"prompt": "a", "image_url": "{SHEET}", "extra_arguments": {{"x": [{{"y": 1, "y": 2}}]}}}}'
    for name, text, field, line in (
        ("b.json", f"[{one}]", "num_frames", 2),
        ("b.json", f'{{"rows": [{deep}]}}', "extra_arguments.x.0.y", 1),
        ("b.jsonl", json.dumps(row()) + "\n" + one.replace("\n", ""), "num_frames", 2),
        (
            "b.yaml",
            f"- prompt: a\n  image_url: {SHEET}\n  num_frames: 9\n  num_frames: 481\n",
            "num_frames",
            4,
        ),
        ("b.yaml", "rows: []\nmatrix: {seeds: [1], seeds: [2]}", "seeds", 2),
        ("b.yaml", f"rows:\n- prompt: a\n  prompt: b\n  image_url: {SHEET}\n", "prompt", 3),
        ("b.yaml", "defaults: {seed: 1}\nrows: []\ndefaults: {seed: 2}", "defaults", 3),
        ("b.csv", "Prompt,prompt,image_url\na,b,sheet.png\n", "prompt", 1),
    ):
        (found,) = [
            each for each in problems(write(name, text)) if "wice" in each.what or "this name" in each.what
        ]
        assert (found.column, found.line) == (field, line), text
    with pytest.raises(FalRequestInvalid, match=r"num_frames: is there twice.*line 2"):
        read_request(write("r.json", one))
    with pytest.raises(RecipeUnreadable, match=r"outputs.0.kind: is there twice.*line 3"):
        read_recipe(write("r.yaml", "name: x\noutputs:\n- {kind: poster, kind: web}\n"))
    assert "twice" in said(
        write("b.csv", 'prompt,image_url,extra_arguments\na,sheet.png,"{""a"": 1, ""a"": 2}"\n')
    )
    with pytest.raises(StoryboardInvalid, match=r"line 4: cast a: look: is there twice"):
        read_storyboard("title: T\ncast:\n  a: {images: [x],\n      look: x, look: y}\nshots: []\n")
    assert "two names" in said([row()], matrix={"seed": [1], "seeds": [2]})


@pytest.mark.parametrize("number", [10**30, 2**63, -(2**63) - 1, 2**64])
def test_no_number_beyond_64_bits_and_none_that_is_no_number(number: int, write: Write) -> None:
    """E3: in seeds and deep in extra arguments, in every form, from Python too."""
    for field in (
        f'"seed": {number}',
        f'"extra_arguments": {{"a": [{{"b": {number}}}]}}',
        '"seed": 1e999',
        '"seed": NaN',
    ):
        text = f'{{"prompt": "a", "image_url": "{SHEET}", {field}}}'
        for name in ("b.jsonl", "b.json", "b.yaml"):
            assert problems(write(name, text)), (name, field)
    assert "64 bits" in said([row(extra_arguments={"a": number})])
    assert problems([row(seed=number)])
    assert problems([row()], defaults={"extra_arguments": {"a": number}})
    assert problems(write("b.csv", f"prompt,image_url,seed\na,sheet.png,{number}\n"))
    with pytest.raises(ValueError, match=r"9223372036854775807|greater than or equal to 0"):
        IngredientRequest(prompt="a", image_url=SHEET, seed=number)
    with pytest.raises(ValueError, match="64 bits"):
        IngredientRequest(prompt="a", image_url=SHEET, extra_arguments={"a": {"b": number}})


def test_no_text_that_cannot_be_stored_or_sent(write: Write) -> None:
    """E5: half a character, NUL, and what shows nothing, in every field that takes text and in names."""
    for bad in ("cut \\ud83d here", "nul \\u0000 here"):
        for field in ("prompt", "negative_prompt", "id", "image_url", "endpoint", "tags"):
            text = json.dumps(row() | {field: "BAD"}).replace("BAD", bad)
            for name in ("b.json", "b.jsonl", "b.yaml"):
                (found,) = problems(write(name, text))
                assert (found.column, found.line) == (field, 1), text
        assert said(write("b.jsonl", json.dumps(row(extra_arguments={"BAD": 1})).replace("BAD", bad)))
    for half in ("\ud83d", "\udfff", "a\0"):
        assert said([row(prompt=f"x{half}")])
        with pytest.raises(ValueError, match="half a character|NUL"):
            IngredientRequest(prompt=f"x{half}", image_url=SHEET)
        with pytest.raises(StoryboardInvalid):
            read_storyboard({"title": f"T{half}", "shots": []})
    for blank in (
        "\u200b",
        "\u2060\ufeff",
        "\u00ad",
        "\u3164",
        "\u2800",
        "\u00a0 \u3000",
        "\u034f",
        "\ufe0f",
    ):
        with pytest.raises(ValueError, match="blank"):
            IngredientRequest(prompt=blank, image_url=SHEET)
        assert said([row(prompt=blank)])


def test_hostile_texts_end_at_once_in_one_line(write: Write) -> None:
    """E7: aliases that unfold, depth, numbers of thousands of digits, homes that are not there: bounded work."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
    )
    for name, text in (
        ("b.yaml", bomb + "rows: [*i]\n"),
        ("b.yaml", "&a [*a]"),
        ("b.yaml", "[" * 50_000),
        ("b.yaml", "- " * 50_000),
        ("b.json", "[" * 200_000),
        ("b.json", '{"a":' * 100_000),
        ("b.jsonl", "[" * 100_000),
        ("b.json", '{"seed": ' + "9" * 5000 + "}"),
        ("b.yaml", "- {seed: " + "9" * 5000 + "}"),
        ("b.csv", "prompt,image_url,seed\na,sheet.png," + "9" * 5000 + "\n"),
        ("b.csv", "prompt,image_url,extra_arguments\na,sheet.png," + "[" * 5000 + "\n"),
        ("b.csv", "prompt,image_url\na,~nosuchuser/s.png\n"),
        ("b.json", '[{"prompt": "a", "image_url": "~nosuchuser/s.png"}]'),
        ("b.json", '[{"prompt": "a", "image_url": "' + "x" * 5000 + '"}]'),
    ):
        for each in problems(write(name, text)):
            assert len(str(each)) < 600
    for source in ("~nosuchuser/b.csv", "\0", "x" * 5000, "/dev/zero", "/dev/stdin/x"):
        assert "cannot read" in said(source)
    with pytest.raises(RequestFileError, match="nested deeper"):
        read_request(write("r.json", "[" * 100_000))
    with pytest.raises(RecipeUnreadable, match="too many parts"):
        read_recipe(write("r.yaml", bomb))
    with pytest.raises(StoryboardInvalid, match="no home folder"):
        load_storyboard("~nosuchuser/film.yaml")


def test_harmless_habits_are_understood(write: Write) -> None:
    """E8: what Excel, web pages and hands add means nothing."""
    for text in (
        'sep=;\nid;Prompt;Image URL;Num Frames\nx;"a cup";sheet.png;9\n',
        '"sep=,"\nID,PROMPT, image_url ,num-frames\nx,a cup,\u00a0sheet.png\u00a0,9.0\n',
        "\ufeffid\tprompt\timage_url\tnum_frames\r\nx\ta cup\tsheet.png\u200b\t9.00\r\n",
        "id;prompt;image_url;num_frames;guidance_scale\nx;a cup;sheet.png;9;1,0\n\n;;;;\n",
        "id,prompt,image_url,num_frames\rx,a cup,sheet.png,9\r",
    ):
        (read,) = read_batch(write("b.csv", text)).rows
        assert (read.id, read.request.prompt, read.request.num_frames) == ("x", "a cup", 9), text
        assert read.request.media()["image_url"].endswith("/sheet.png")
    (read,) = read_batch(write("b.csv", "prompt,image_url,width,height\na,sheet.png,640,384\n")).rows
    assert read.request.resolution == ImageSize(width=640, height=384)
    (read,) = read_batch([row(width=640, height=384)], defaults={"resolution": "square"}).rows
    assert read.request.resolution == ImageSize(width=640, height=384)
    (read,) = read_batch(
        write("b.yaml", f"- &r {{prompt: a, image_url: {SHEET}}}\n- {{<<: *r, seed: 3}}\n")
    ).rows[1:]
    assert (read.request.prompt, read.request.seed) == ("a", 3)


def test_what_has_two_meanings_gets_its_remedy(write: Write) -> None:
    """E8: never the wrong number or file, and one line that says what to write instead."""
    cells = "prompt,image_url,seed,width\na,sheet.png,{},\n"
    for name, text, remedy in (
        ("b.csv", cells.format("1.23E+12"), "write all digits"),
        ("b.csv", cells.format("1.000"), "without separators"),
        ("b.csv", cells.format('"1,000,000"'), "without separators"),
        ("b.csv", "prompt,image_url,width\na,sheet.png,640\n", "needs height"),
        ("b.csv", "prompt,image_url,width,height,resolution\na,sheet.png,64,64,square\n", "not both"),
        ("b.jsonl", json.dumps(row()).replace("}", ', "seed": 1.23E+12}'), "write all of its digits"),
        ("b.jsonl", json.dumps(row()).replace("}", ', "seed": 9007199254740993.0}'), "digits"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}', seed: 010}}", "write 8 or 10"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}', seed: 1.23E+12}}", "write all of its digits"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}', seed: 0x1F}}", "decimal digits"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}', num_frames: 1:30}}", "decimal digits"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}', id: no}}", "in quotes"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}', id: 1.10}}", "in quotes"),
        ("b.yaml", f"- {{prompt: a, image_url: '{SHEET}'}}\n---\n- {{}}", "more than one document"),
        ("b.csv", cells.format(1).encode("utf-16"), "UTF-16"),
        ("b.csv", cells.format(1).encode("utf-16-le"), "UTF-16"),
        ("b.csv", "prompt,image_url\nMädchen,sheet.png\n".encode("cp1252"), "CP1252"),
        ("b.jsonl", json.dumps(row(prompt="Mädchen"), ensure_ascii=False).encode("latin-1"), "CP1252"),
        ("b.csv", b"PK\x03\x04 not really", ".xlsx"),
        ("b.csv", b"\xd0\xcf\x11\xe0 old", "without a password"),
        ("b.xls", b"\xd0\xcf\x11\xe0 old", ".xlsx"),
    ):
        assert remedy in said(write(name, text)), (name, text)
    for source, remedy in (
        ("gs://bucket/b.csv", "gcloud storage cp"),
        ("abfss://c@a.dfs.core.windows.net/b.csv", "azcopy"),
        ("ftp://h.test/b.csv", "https://"),
        ("data:text/csv,prompt", "write it into one"),
    ):
        assert remedy in said(source)
    assert "did you mean video_url?" in said([{"prompt": "a", "Video URL": SHEET}])


def test_addresses_that_cannot_be_fetched_are_found_with_the_rows() -> None:
    """E8: media at `gs://`, at an address that is none, or in a home that is not there: by row and field."""
    for source, remedy in (
        ("gs://bucket/s.png", "gcloud storage cp"),
        ("https://[bad/s.png", "not a valid URL"),
        ("ftp://h.test/s.png", "https://"),
        ("~nosuchuser/s.png", "no home folder"),
        ("file:///nowhere/s.png", "no file"),
    ):
        (found,) = problems([row(image_url=source)])
        assert found.column == "image_url"
        assert remedy in found.what
    assert (
        read_batch([row(image_url="s3://bucket/a#b.png")]).rows[0].request.image_url == "s3://bucket/a#b.png"
    )


def test_one_reader_for_a_request_and_for_a_batch_of_it(write: Write) -> None:
    """E11: a request file with an id, tags and a size as two numbers is what the same row is in a batch."""
    given = row(id="x", tags=["t"], width=640, height=384, seed=3)
    alone = read_row(write("r.json", json.dumps(given)))
    (listed,) = read_batch(write("b.json", json.dumps([given]))).rows
    assert (
        (alone.request, alone.id, alone.tags)
        == (listed.request, "x", ("t",))
        == (listed.request, listed.id, listed.tags)
    )
    assert isinstance(alone.request, IngredientRequest)
    for wrong in (
        {"seed": "1.000"},
        {"num_frames": "a"},
        {"prompt": "\u200b"},
        {"id": True},
        {"nonsense": 1},
    ):
        bad = row(**wrong)
        (problem,) = problems(write("b.json", json.dumps([bad])))
        with pytest.raises(FalRequestInvalid) as found:
            read_row(write("r.json", json.dumps(bad)))
        assert problem.what in str(found.value)
    assert isinstance(
        read_request(write("r.yaml", "prompt: a\nvideo_url: https://h.test/v.mp4\n")), ReferenceVideoRequest
    )


def test_every_problem_has_its_line_and_place(write: Write) -> None:
    """A mistake in a value is told by file, row, line, column and field, in JSON and YAML too."""
    text = json.dumps({"defaults": {"num_frames": 7}, "rows": [row(), row(num_frames=9, seed=-1)]}, indent=1)
    found = problems(write("b.json", text))
    lines = text.split("\n")
    where = [(each.where, each.column, each.line) for each in found]
    assert where == [
        ("row 1", "num_frames", 1 + next(n for n, line in enumerate(lines) if '"num_frames": 7' in line)),
        ("row 2", "seed", 1 + next(n for n, line in enumerate(lines) if '"seed": -1' in line)),
    ]
    (yaml,) = problems(write("b.yaml", f"- prompt: a\n  image_url: {SHEET}\n  seed: -1\n"))
    assert (yaml.line, yaml.character) == (3, 3)


def test_what_cannot_be_sent_hides_nothing_else(write: Write) -> None:
    """A value that no request can hold is one problem of its row; its other fields, and the other rows, have theirs."""
    bad = [row(seed=2**70, num_frames=7), row(prompt="\ud800"), row(id="fine"), row(num_frames=7)]
    sources: list[Any] = [
        write("b.json", json.dumps(bad)),
        write("b2.json", json.dumps({"rows": bad})),
        write("b.jsonl", "\n".join(map(json.dumps, bad))),
        write("b.yaml", json.dumps(bad)),
        bad,
    ]
    for source in sources:
        found = [(each.where.split()[1], each.column) for each in problems(source)]
        assert sorted(found) == [("1", "num_frames"), ("1", "seed"), ("2", "prompt"), ("4", "num_frames")]
    (alone,) = {each.column for each in problems(write("one.json", json.dumps(row(image_url="\ud800"))))}
    assert alone == "image_url"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("https:/h.test/s.png", "two slashes"),
        ("www.h.test/s.png", "begins with https://"),
        ("“s.png”", "quotation marks"),
        ("$HOME/s.png", "in full"),
        ("C:\\pictures\\s.png", "Windows"),
    ],
)
def test_a_slip_in_a_path_gets_a_hint(path: str, hint: str) -> None:
    """A path that names no file, and looks like something else, is told with what would be right."""
    (found,) = problems([row(image_url=path)])
    assert found.what.startswith("there is no file")
    assert hint in found.what
