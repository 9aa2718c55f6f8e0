"""The embedded fal and its neighbours: web pages, names that are made to mean this machine, other local ports."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from browser import CHROMIUM, browser
from local_fal_helpers import INGREDIENT, VIDEO, Caller, Receiver

from prefect_ltx.local import LocalFal

STRANGE_HOSTS = (
    "evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io", "127.0.0.1.evil.example:8734",
    "127.0.0.1@evil.example", "evil.example#127.0.0.1", "0x7f.1", "2130706433", "0", "192.168.1.1", "[fe80::1]",
    "queue.fal.run.evil.example", "notlocalhost", "169.254.169.254", "",
)  # fmt: skip
OWN_HOSTS = (
    "127.0.0.1", "127.0.0.1:1", "127.8.9.1", "localhost", "LOCALHOST:9", "localhost.", "my.localhost:80", "[::1]:5",
    "[::ffff:127.0.0.1]", "queue.fal.run", "rest.fal.ai:443", "v3.fal.media", "fal.run",
)  # fmt: skip
STRANGE_ORIGINS = (
    "http://evil.example", "https://evil.example:8734", "null", "http://127.0.0.1.evil.example", "file://",
    "http://localhost.evil.example", "chrome-extension://abc", "http://127.0.0.1@evil.example", "http://0x7f.1", "",
)  # fmt: skip
OWN_ORIGINS = ("http://localhost:3000", "http://127.0.0.1:4200", "https://[::1]:1", "https://fal.ai")


def raw(url: str, text: str) -> str:
    """The status line of the answer to a hand-written request."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=30) as line:
        line.sendall(text.replace("\n", "\r\n").encode("latin-1"))
        return line.recv(65536).decode("latin-1").partition("\r\n")[0]


def test_only_loopback_and_fals_own_names_are_answered(caller: Caller, fal: LocalFal) -> None:
    """Whatever the route: 403 before anything is read or logged, in the absolute form of a request too."""
    body = json.dumps({"prompt": "x", "image_url": "data:,"}).encode()
    for host in STRANGE_HOSTS:
        for method, path in (("GET", "/"), ("GET", "/_local/faults"), ("POST", f"/{INGREDIENT}")):
            answer = caller.http.request(method, path, headers={"host": host}, content=body)
            assert (answer.status_code, "allow-host" in answer.text) == (403, True), (host, path)
        for text in (
            f"GET http://{host or 'x.y'}/ HTTP/1.1\nHost: 127.0.0.1\n\n",
            f"GET / HTTP/1.0\nHost: {host}\n\n",
        ):
            assert " 403 " in raw(fal.url, text), text
    for host in OWN_HOSTS:
        assert caller.get("/v1/models", headers={"host": host}).status_code != 403, host
        assert " 403 " not in raw(fal.url, f"GET http://{host}/v1/models HTTP/1.1\nHost: {host}\n\n"), host
    assert not [entry for entry in fal.log if entry[0] == "POST"]
    assert len(fal.bill) == 0


def test_only_pages_of_this_machine_may_read_it(caller: Caller, fal: LocalFal) -> None:
    """A foreign Origin is refused for every method, its preflight too, and gets no CORS header."""
    for origin in STRANGE_ORIGINS:
        for method in ("GET", "POST", "OPTIONS", "PUT", "DELETE"):
            headers = {"origin": origin, "access-control-request-method": "POST"}
            answer = caller.http.request(method, f"/{VIDEO}", headers=headers)
            assert answer.status_code == 403, (origin, method)
            assert "access-control-allow-origin" not in answer.headers
    for origin in OWN_ORIGINS:
        assert caller.get("/v1/models", headers={"origin": origin}).status_code == 200, origin
    assert not [entry for entry in fal.log if entry[0] == "POST"]


def test_names_that_it_was_started_with_are_answered(tmp_path: Path) -> None:
    """`--allow-host`, and the address to listen on: for a server that others in a network use."""
    with LocalFal(renderer="stored-clip", host="0.0.0.0", allow_hosts=["fal.test"]) as fal:
        port = urlsplit(fal.url).port
        for host, origin in (
            ("fal.test", "http://fal.test:99"),
            (f"0.0.0.0:{port}", "http://fal.test"),
            ("FAL.test.", ""),
        ):
            headers = {"host": host, **({"origin": origin} if origin else {})}
            assert httpx.get(f"http://127.0.0.1:{port}/v1/models", headers=headers).status_code == 200, host
        assert httpx.get(f"http://127.0.0.1:{port}/", headers={"host": "evil.example"}).status_code == 403


class Canary:
    """A server on loopback that counts who calls it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.calls: list[str] = []
        canary = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canary.calls.append(self.path)
                self.send_response(404)
                self.end_headers()

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_port


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    running = Canary("0.0.0.0")
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`prefect-ltx local-fal` as it is started in the README."""
    folder = tmp_path_factory.mktemp("served")
    command = [
        sys.executable,
        "-m",
        "prefect_ltx.cli",
        "local-fal",
        "--renderer",
        "stored-clip",
        "--data",
        "fal",
    ]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder) as process,
    ):
        assert process.stdout is not None
        yield process.stdout.readline().split()[1]
        process.terminate()


def own_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [str(line.getsockname()[0])]


def test_other_local_ports_are_called_only_where_that_was_said(
    served: str, canary: Canary, sheet_body: dict[str, Any]
) -> None:
    """Media and webhooks on this machine, however its address is written: not one connection, a 422 that says why."""
    hosts = ["127.0.0.1", "localhost", "localhost.", "0x7f.1", "127.1", "2130706433", "0.0.0.0", "127.9.9.9"]
    hosts += ["[::ffff:127.0.0.1]", socket.gethostname(), *own_addresses()]
    with Caller(served) as caller:
        for host in hosts:
            url = f"http://{host}:{canary.port}/x.png"
            sent = caller.submit(sheet_body | {"image_url": url}, INGREDIENT, params={"fal_webhook": url})
            caller.until(sent["request_id"])
            reply = caller.result(sent["request_id"])
            entry = reply.json()["detail"][0]
            assert (reply.status_code, entry["type"]) == (422, "file_download_error"), host
        sent = caller.submit(
            sheet_body, INGREDIENT, params={"fal_webhook": f"http://127.0.0.1:{canary.port}/hook"}
        )
        caller.until(sent["request_id"])
        entry = caller.generate(sheet_body | {"image_url": f"{served}/v1/models"}, INGREDIENT).json()[
            "detail"
        ][0]
        assert "--allow-loopback" in entry["msg"]
    assert canary.calls == []


async def test_a_redirect_to_this_machine_is_not_followed(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is judged: the first server is one that may be called, where it leads is not."""
    from prefect_ltx.local.outbound import LocalAddressRefused, outbound_client

    redirector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", f"http://localhost:{canary.port}/secret")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    redirector.RequestHandlerClass = Handler
    threading.Thread(target=redirector.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{redirector.server_port}"
        monkeypatch.setenv("PREFECT_LTX_WEBHOOK_URL", url)
        async with outbound_client(follow_redirects=True) as client:
            with pytest.raises(LocalAddressRefused):
                await client.get(f"{url}/a")
    finally:
        redirector.shutdown()
        redirector.server_close()
    assert canary.calls == []


def test_they_are_called_where_the_server_was_told_so(receiver: Receiver, sheet_body: dict[str, Any]) -> None:
    """`allow_loopback`: a webhook reaches its receiver on this machine."""
    with LocalFal(renderer="stored-clip", allow_loopback=True) as fal, Caller(fal.url) as caller:
        sent = caller.submit(sheet_body, INGREDIENT, params={"fal_webhook": receiver.url})
        assert receiver.wait_for(1)[0]["request_id"] == sent["request_id"]


PAGE = b"<!doctype html><title>a page</title>"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: make chromium")
def test_a_browser_is_kept_out(served: str, canary: Canary, tmp_path: Path) -> None:
    """A real Chromium: a foreign page, a name that is rebound to 127.0.0.1, a sandboxed frame: none reads or submits;
    a page of this machine does."""
    port = urlsplit(served).port

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: object) -> None:
            pass

    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    read = (
        "fetch('{url}').then(async r => r.status + ' ' + (await r.text()).slice(0, 300))"
        ".catch(e => 'refused ' + e.name)"
    )
    post = (
        "fetch('{url}/fal-ai/ltx-2.3-quality/ingredient', {{method: 'POST', mode: 'no-cors', "
        "body: JSON.stringify({{prompt: 'x', image_url: 'data:,'}})}})"
        ".then(r => r.type + r.status).catch(e => 'refused')"
    )
    frame = (
        "new Promise(done => {{ addEventListener('message', e => done(e.data)); const f = document.createElement("
        "'iframe'); f.sandbox = 'allow-scripts'; f.srcdoc = `<script>fetch('{url}/v1/models').then(r => r.text())"
        ".then(t => parent.postMessage('read', '*'), e => parent.postMessage('refused', '*'))<\\/script>`; "
        "document.body.append(f); }})"
    )
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1"
    try:
        with browser(tmp_path / "profile", rules) as page:
            foreign = f"http://evil.example:{pages.server_port}/"
            page.open(foreign)
            for target in (
                f"http://127.0.0.1:{port}",
                f"http://localhost:{port}",
                f"http://evil.example:{port}",
            ):
                assert page.evaluate(read.format(url=f"{target}/v1/models")).startswith("refused"), target
                page.evaluate(post.format(url=target))
                assert page.evaluate(frame.format(url=target)) == "refused"
            # After the rebinding the page's own name is this server: it may read, and is told nothing.
            page.open(f"http://rebound.example:{port}/")
            for path in ("/", "/v1/models", "/_local/faults"):
                assert page.evaluate(read.format(url=path)).startswith("403"), path
            assert "stand-in" not in page.text()
            page.evaluate(post.format(url=f"http://rebound.example:{port}"))
            page.open(f"http://localhost:{pages.server_port}/")
            assert page.evaluate(read.format(url=f"http://127.0.0.1:{port}/v1/models")).startswith("200")
            page.open(f"{served}/")
            assert "stand-in" in page.text()
    finally:
        pages.shutdown()
        pages.server_close()
    assert canary.calls == []
    with Caller(served) as caller:
        assert not [
            entry
            for entry in caller.listed(INGREDIENT)
            if (entry.get("json_input") or {}).get("prompt") == "x"
        ]
