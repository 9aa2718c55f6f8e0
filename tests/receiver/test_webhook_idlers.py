"""Connections that say nothing, half of something or one thing twice: closed, and nobody else waits for them."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from test_webhook_burst import all_at_once, cpu_seconds, wire
from webhook_parts import Receiving, Signer, payload, receiver, submitted_row, submitted_rows, until

from prefect_ltx.ledger import Ledger, State
from prefect_ltx.local import LocalFal

IDLE, HALF, UNREAD = (5_000, 500, 300) if "CHAOS_ROUNDS" in os.environ else (1_000, 100, 60)
"""How many say nothing, stop within a body, read no answer; `make chaos` has the long form."""
TRUE = 100
BAR_SECONDS = 2.0
MOST_SECONDS = 40
"""In which whoever keeps the receiver waiting has been closed, on a busy machine."""


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = before[1] if before[1] != resource.RLIM_INFINITY else 20_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def head(url: str, *lines: str, nonce: str = "n" * 16) -> str:
    return "\r\n".join([f"POST /fal/{nonce} HTTP/1.1", f"Host: {urlsplit(url).netloc}", *lines])


def webhook_lines(signer: Signer, body: bytes) -> list[str]:
    return [f"{name}: {value}" for name, value in signer.headers(body, "an-id").items()]


@contextmanager
def connections(url: str, count: int, first: bytes) -> Iterator[list[socket.socket]]:
    """As many connections, each with what it says at first."""
    where = (urlsplit(url).hostname, urlsplit(url).port)
    with ExitStack() as stack:
        lines = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(where, timeout=30))
            with contextlib.suppress(OSError):  # it may have been closed for a newer one
                line.sendall(first)
            lines.append(line)
        yield lines


def is_closed(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        while line.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_webhooks_are_answered_while_thousands_idle(
    hook: Receiving, ledger: Ledger, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Thousands of connections that say nothing, others that stop within a body or read no answer: 100 true webhooks
    are each answered within 2 s (by its CPU time, where the machine gave it no core)."""
    half_body = "\r\n".join(
        [head(hook.url, *webhook_lines(signer, b"x")), "Content-Length: 100000", "", "half"]
    ).encode()
    unread = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3
    for said, count in ((b"", IDLE), (half_body, HALF), (unread, UNREAD)):
        tries: list[float] = []
        while len(tries) < 3 and not (tries and min(tries) < BAR_SECONDS):
            rows = submitted_rows(ledger, TRUE)
            requests = [wire(hook.url, row, signer) for row in rows]
            with connections(hook.url, count, said):
                hook.http.get(f"{hook.url}/health")  # it has taken in those before
                before = cpu_seconds(hook.process.pid)
                answers = asyncio.run(all_at_once(hook.url, requests))
                used = cpu_seconds(hook.process.pid) - before
            assert {line for _, line in answers} == {b"HTTP/1.1 200 OK\r\n"}
            assert {ledger.get(row.id).state for row in rows} == {State.COMPLETED}
            slowest = max(seconds for seconds, _ in answers)
            tries.append(min(slowest, used))
            with capsys.disabled():
                print(
                    f"\n{TRUE} webhooks among {count} that say {said[:12]!r}: {slowest:.2f} s, CPU {used:.2f} s"
                )
        assert min(tries) < BAR_SECONDS


def test_whoever_keeps_it_waiting_is_closed(hook: Receiving, signer: Signer) -> None:
    """Nothing, a head that never ends, a body that never ends, a TLS hello, an idle kept-alive connection, answers
    that are not read: each is closed by the receiver."""
    hello = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    whole = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    said = {
        "nothing": b"",
        "half a head": head(hook.url).encode(),
        "half a line": b"POST /fal/abc",
        "half a body": (
            head(hook.url, *webhook_lines(signer, b"x"), "Content-Length: 9") + "\r\n\r\nx"
        ).encode(),
        "half a chunk": (head(hook.url, *webhook_lines(signer, b"x"), "Transfer-Encoding: chunked")).encode()
        + b"\r\n\r\n5\r\nab",
        "a body for nobody": whole.replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n").encode(),
        "one request": whole.encode(),
        "one and a half": (whole + whole[:20]).encode(),
        "TLS": hello.read(),
        "noise": bytes(range(256)),
    }
    with ExitStack() as stack:
        lines = {
            name: stack.enter_context(connections(hook.url, 1, first))[0] for name, first in said.items()
        }
        trickling = lines["half a line"]
        deadline = time.monotonic() + MOST_SECONDS
        while not all(is_closed(line) for line in lines.values()):
            open_yet = [name for name, line in lines.items() if not is_closed(line)]
            assert time.monotonic() < deadline, open_yet
            with contextlib.suppress(OSError):
                trickling.send(b"d")  # a byte now and then buys no time
            time.sleep(0.2)
    assert hook.http.get(f"{hook.url}/health").status_code == 200


def test_it_stays_able_to_answer_with_few_files(
    fal: LocalFal, ledger: Ledger, signer: Signer, folder: Path
) -> None:
    """With 400 files for the whole process, 600 idle connections, or half bodies, take no place from a webhook."""
    with receiver(fal.url, folder, before=("prlimit", "--nofile=400:400")) as hook:
        row = submitted_row(ledger)
        body = payload(str(row.request_id))
        headers = signer.headers(body, str(row.request_id))
        half = (head(hook.url, *webhook_lines(signer, b"x"), "Content-Length: 9") + "\r\n\r\nx").encode()
        for said, outcome in ((b"", "recorded"), (half, "duplicate")):
            with connections(hook.url, 600, said):
                url = f"{hook.url}/fal/{row.nonce}"
                assert httpx.post(url, content=body, headers=headers, timeout=60).json() == {
                    "outcome": outcome
                }


def test_an_ambiguous_framing_is_refused(hook: Receiving, ledger: Ledger, signer: Signer) -> None:
    """Content-Length beside chunked, two lengths, chunked in HTTP/1.0: 400, and what follows on the connection is
    not taken for a request."""
    row = submitted_row(ledger)
    body = payload(str(row.request_id))
    lines = [f"{name}: {value}" for name, value in signer.headers(body, str(row.request_id)).items()]
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    smuggled = wire(hook.url, row, signer)
    framings: list[tuple[list[str], str, bytes]] = [
        (["Transfer-Encoding: chunked", f"Content-Length: {len(body)}"], "1.1", chunked),
        ([f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"], "1.1", chunked),
        (["Transfer-Encoding: Chunked", "content-length: 0"], "1.1", chunked),
        ([f"Content-Length: {len(body)}", "Content-Length: 3"], "1.1", body),
        (["Transfer-Encoding: chunked"], "1.0", chunked),
        (["Transfer-Encoding: identity, chunked"], "1.1", chunked),
    ]
    where = (urlsplit(hook.url).hostname, urlsplit(hook.url).port)
    for path in (f"/fal/{row.nonce}", "/health", "/nowhere"):
        for framing, version, content in framings:
            start = (
                f"POST {path} HTTP/{version}\r\n" + "\r\n".join(["Host: x", *lines, *framing]) + "\r\n\r\n"
            )
            with socket.create_connection(where, timeout=30) as line:
                line.sendall(start.encode() + content + smuggled)
                answer = b""
                with contextlib.suppress(OSError):
                    while piece := line.recv(65536):
                        answer += piece
            assert answer.split(b" ")[1] in (b"400", b"501"), (path, framing)
            assert answer.count(b"HTTP/1.1 ") == 1, (path, framing)
    assert ledger.get(row.id).state is State.SUBMITTED
    only_chunked = dict(signer.headers(body, str(row.request_id)))
    answer = hook.http.post(f"{hook.url}/fal/{row.nonce}", content=iter([body]), headers=only_chunked)
    assert answer.json() == {"outcome": "recorded"}


def test_strangers_do_not_fill_the_log(hook: Receiving, signer: Signer) -> None:
    """A thousand webhooks that nobody knows, ids without end, and what is no HTTP: a few lines, all of them short."""
    before, began = len(hook.log.read_text()), time.monotonic()
    for number in range(300):
        body = payload(f"0199cccc-{number}")
        assert hook.post("nobodysnonce", body, signer.headers(body, f"0199cccc-{number}")).status_code == 200
    for odd in ("x" * 90_000, "x" * 201, "a/../b", "\n" * 10):
        body = payload(odd)
        assert hook.post("nobodysnonce", body, signer.headers(body, "0199")).status_code == 400
    keys = {f"k{number}" * 50: [1] for number in range(200)}
    body = payload("0199dddd", status="MAYBE", payload=keys)
    assert hook.post("nobodysnonce", body, signer.headers(body, "0199dddd")).status_code == 400
    with connections(hook.url, 300, b"\x16\x03\x01 not HTTP\r\n\r\n") as lines:
        until(lambda: all(is_closed(line) for line in lines), MOST_SECONDS)
    added = hook.log.read_text()[before:]
    windows = 1 + (time.monotonic() - began) / 10
    assert added.count("unknown to this ledger") <= 5 * windows
    assert len(added) < 8_000 * windows
    assert max(map(len, added.splitlines())) < 600
