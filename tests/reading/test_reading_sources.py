"""Batches from the web and from workbooks: read as files are, bounded, and no signature is told to anybody."""

import datetime
import io
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from prefect_ltx.batch import BatchInvalid, read_batch
from prefect_ltx.fal import ImageSize
from prefect_ltx.film import StoryboardInvalid, load_storyboard
from prefect_ltx.media import read_recipe

CSV = b"ID,Prompt,Image URL,seed\na,a cup,s.png,7\n"
Book = Callable[..., Path]


class Pages(BaseHTTPRequestHandler):
    """Paths are situations."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        status, headers, body = 200, {"Content-Type": "text/csv"}, CSV
        if path == "/moved/b.csv":
            status, headers, body = 302, {"Location": "/files/b.csv?sig=SECRET2"}, b""
        elif path == "/loop.csv":
            status, headers, body = 302, {"Location": "/loop.csv"}, b""
        elif path == "/away.csv":
            status, headers, body = 302, {"Location": "file:///etc/passwd"}, b""
        elif path == "/page.csv":
            headers, body = {"Content-Type": "text/html"}, b"<html>sign in</html>"
        elif path == "/none.csv":
            status = 404
        elif path == "/login.csv":
            status = 403
        elif path.endswith("film.yaml"):
            body = b"title: T\nshots:\n- {id: one, text: x, frames: 3}\n"
        elif path.endswith("recipe.json"):
            body = b'{"name": "mine", "outputs": []}'
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
            while path == "/endless.csv":
                self.wfile.write(b"a,a cup,s.png,7\n" * 65536)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    def made(*rows: list[Any], name: str = "b.xlsx", **more: list[list[Any]]) -> Path:
        found = openpyxl.Workbook()
        sheet = found.active
        assert sheet is not None
        for row in rows:
            sheet.append(row)
        for title, others in more.items():
            other = found.create_sheet(title)
            for row in others:
                other.append(row)
        found.save(tmp_path / name)
        (tmp_path / "s.png").touch()
        return tmp_path / name

    return made


def said(source: Any) -> str:
    with pytest.raises(BatchInvalid) as found:
        read_batch(source)
    assert "SECRET" not in str(found.value)
    return str(found.value)


def test_a_batch_on_the_web_is_read_like_a_file(web: str) -> None:
    """E10: by its suffix or its type, with relative media beside it, through redirects; no query is kept."""
    for path in ("/files/b.csv?sig=SECRET", "/moved/b.csv", "/files/export?format=csv"):
        (row,) = read_batch(f"{web}{path}").rows
        assert (row.id, row.request.seed) == ("a", 7)
        assert row.request.media() == {"image_url": f"{web}/files/s.png"}
    assert read_batch(f"{web}/files/b.csv?sig=SECRET").name == "b"
    with pytest.raises(StoryboardInvalid, match="line 3.*frames"):
        load_storyboard(f"{web}/films/film.yaml")
    assert read_recipe(f"{web}/recipe.json").name == "mine"


def test_what_the_web_does_not_give_is_one_line(web: str) -> None:
    """A page, a refusal, a redirect without end or to a file, more than 64 MB, nobody there: and no signature."""
    for path, why in (
        ("/page.csv?sig=SECRET", "web page"),
        ("/none.csv?sig=SECRET", "HTTP 404"),
        ("/login.csv?sig=SECRET", "sign-in"),
        ("/loop.csv?sig=SECRET", "redirects"),
        ("/away.csv?sig=SECRET", "cannot be fetched"),
        ("/endless.csv?sig=SECRET", "larger than 64 MB"),
    ):
        assert why in said(f"{web}{path}")
    assert "connection failed" in said("http://127.0.0.1:9/b.csv?sig=SECRET")


@pytest.mark.parametrize(
    "environ", [{"ALL_PROXY": "socks5://127.0.0.1:1"}, {"HTTPS_PROXY": "http://h:1", "NO_PROXY": "[fe80::1]"}]
)
def test_proxies_of_the_environment_that_cannot_be_used_are_one_line(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """E9: a SOCKS proxy without its package and brackets in NO_PROXY are told with the remedy, no address in it."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    text = said("https://h.test/b.csv?sig=SECRET")
    assert "proxy" in text.lower()
    assert "Error" not in text.partition("(")[0]


def test_a_workbook_is_read_by_its_values(book: Book) -> None:
    """E10: numbers as they are stored, formulas by their stored value, habits of headers, empty cells and rows."""
    path = book(
        ["ID", "Prompt", "Image URL", "Seed", "num_frames", "Width", "Height", "generate_audio", None],
        [1, "a cup", "\u00a0s.png", 7.0, 9, 640, 384, True, None],
        [],
        ["b", "a pan", "s.png", 2**40, None, None, None, None, None],
    )
    first, second = read_batch(path).rows
    assert (first.id, first.request.seed, first.request.num_frames) == ("1", 7, 9)
    assert first.request.resolution == ImageSize(width=640, height=384)
    assert first.request.generate_audio is True
    assert (second.where, second.line, second.request.seed) == ("row 4", 4, 2**40)


def test_what_excel_shows_otherwise_than_it_stores_is_refused_by_cell(book: Book) -> None:
    """Dates, errors, numbers beyond 15 digits, formulas without a value: never another request than was meant."""
    head = ["prompt", "image_url", "seed"]
    for value, why in (
        (datetime.date(2026, 1, 2), "a date"),
        (123456789012345678, "15 digits"),
        ("=1+1", "no stored value"),
        ("#N/A", "it shows #N/A"),
        ("1.23E+12", "write all digits"),
    ):
        text = said(book(head, ["a", "s.png", value]))
        assert why in text, text
    assert "cell C2" in said(book(head, ["a", "s.png", datetime.time(1, 2)]))
    assert "did you mean seed" in said(book([*head[:2], "sed"], ["a", "s.png", 1]))
    merged = openpyxl.load_workbook(book(head, ["a", "s.png", 1], ["a", "s.png", 2]))
    merged.worksheets[0].merge_cells("C2:C3")
    stream = io.BytesIO()
    merged.save(stream)
    path = book(head)
    path.write_bytes(stream.getvalue())
    assert "merged cells" in said(path)


def test_which_sheet_is_meant_is_never_guessed(book: Book) -> None:
    """The only one that holds anything, or the one that is called requests."""
    rows = [["prompt", "image_url"], ["a", "s.png"]]
    assert "call the one that is meant" in said(book(*rows, Notes=[["hello"]]))
    (row,) = read_batch(book(["Notes"], Requests=[*rows])).rows
    assert row.request.prompt == "a"
    assert "no sheet" in said(book())
    path = book(*rows)
    path.write_bytes(b"\xd0\xcf\x11\xe0old")
    assert "saved anew" in said(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    assert "no workbook" in said(path)


def test_without_the_extra_the_remedy_is_named(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without openpyxl says what to install, or to save as CSV."""
    path = book(["prompt", "image_url"], ["a", "s.png"])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    text = said(path)
    assert "prefect-ltx[xlsx]" in text
    assert "CSV UTF-8" in text
