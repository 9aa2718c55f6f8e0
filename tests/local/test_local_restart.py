"""The bill survives a kill: what was answered is kept, what was unfinished goes on, nothing is charged twice."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from local_fal_helpers import APP, VIDEO, Caller, ServerProcess

from prefect_ltx.local import Bill, LocalFal, StoreUnusable


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path, video_body: dict[str, Any]) -> None:
    """SIGKILL while one renders and others wait: after the restart each is done and charged once."""
    with ServerProcess(tmp_path, renderer="stored-clip", render_seconds=0.4, concurrency=1) as server:
        caller = server.start()
        ids = [caller.submit(video_body)["request_id"] for _ in range(3)]
        caller.until(ids[0])
        caller.until(ids[1], "IN_PROGRESS")
        server.kill()
        assert [charge.request_id for charge in Bill(tmp_path)] == ids[:1]
        caller = server.start()
        for request_id in ids:
            caller.until(request_id)
            assert caller.result(request_id).status_code == 200
        assert sorted(charge.request_id for charge in Bill(tmp_path)) == sorted(ids)


def test_no_kill_charges_twice_or_loses_what_was_answered(tmp_path: Path, video_body: dict[str, Any]) -> None:
    """Killed again and again at different moments of the work, with submits in between."""
    accepted: list[str] = []
    with ServerProcess(tmp_path, renderer="stored-clip") as server:
        for wait in (0.0, 0.01, 0.05):
            caller = server.start()
            accepted += [caller.submit(video_body)["request_id"] for _ in range(3)]
            time.sleep(wait)
            server.kill()
        caller = server.start()
        for request_id in accepted:
            caller.until(request_id)
        assert sorted(charge.request_id for charge in Bill(tmp_path)) == sorted(accepted)
        assert list((tmp_path / "work").iterdir()) == []


def test_a_render_that_is_started_over_makes_the_same_video(
    tmp_path: Path, video_body: dict[str, Any]
) -> None:
    """Without a seed too: the drawn one follows from the request's id."""
    del video_body["seed"]
    with ServerProcess(tmp_path, render_seconds=1) as server:
        caller = server.start()
        request_id = caller.submit(video_body)["request_id"]
        caller.until(request_id, "IN_PROGRESS")
        server.kill()
        caller = server.start()
        caller.until(request_id)
        seed = caller.result(request_id).json()["seed"]
        again = caller.generate(video_body | {"seed": seed})
        first = caller.get(caller.result(request_id).json()["video"]["url"]).content
        assert caller.get(again.json()["video"]["url"]).content == first


def test_results_files_and_upload_tokens_outlive_a_restart(
    tmp_path: Path, video_body: dict[str, Any]
) -> None:
    """On another port: what is stored knows nothing of the old one."""
    with LocalFal(renderer="stored-clip", data=tmp_path) as fal, Caller(fal.url) as caller:
        result = caller.generate(video_body)
        request_id = result.headers["x-fal-request-id"]
        clip = caller.get(result.json()["video"]["url"]).content
        token = caller.post("/storage/auth/token", json={}).json()["token"]
        reference = caller.post("/files/upload", content=clip).json()["access_url"]
    with LocalFal(renderer="stored-clip", data=tmp_path) as fal, Caller(fal.url) as caller:
        url = caller.result(request_id).json()["video"]["url"]
        assert url.startswith(fal.url)
        assert caller.get(url).content == clip
        headers = {"authorization": f"Bearer {token}"}
        assert caller.post("/files/upload", content=b"x", headers=headers).status_code == 200
        # The URL of the server that is gone still means our own file.
        assert caller.generate(video_body | {"video_url": reference}).status_code == 200


def test_a_cancel_is_remembered_across_a_kill(tmp_path: Path, video_body: dict[str, Any]) -> None:
    """Answered with CANCELLATION_REQUESTED, killed before it took effect: it does not run again."""
    faults = tmp_path / "faults.json"
    faults.write_text('{"cancel_ignored": true}')
    with ServerProcess(
        tmp_path / "data", renderer="stored-clip", render_seconds=30, faults_file=faults
    ) as server:
        caller = server.start()
        request_id = caller.submit(video_body)["request_id"]
        caller.until(request_id, "IN_PROGRESS")
        assert caller.put(f"/{APP}/requests/{request_id}/cancel").status_code == 202
        server.kill()
        caller = server.start()
        assert caller.until(request_id)["error_type"] == "client_cancelled"
        assert len(Bill(tmp_path / "data")) == 0


def test_a_run_whose_server_died_is_over(tmp_path: Path, video_body: dict[str, Any]) -> None:
    """Nobody can ask for it by id, so it is not started over and not billed."""
    with ServerProcess(tmp_path, renderer="stored-clip", render_seconds=30) as server:
        caller = server.start()

        def run() -> None:
            with pytest.raises(httpx.TransportError), Caller(server.url) as running:
                running.post(f"/run/{VIDEO}", json=video_body)

        thread = threading.Thread(target=run)
        thread.start()
        while not any(item["started_at"] for item in caller.get("/_local/requests").json()["requests"]):
            time.sleep(0.02)
        server.kill()
        thread.join()
        caller = server.start()
        assert caller.get("/_local/requests").json()["requests"][0]["status_code"] == 499
        assert len(Bill(tmp_path)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_on_a_signal(tmp_path: Path, video_body: dict[str, Any], number: int) -> None:
    """Exit code 0, nothing but the ready line on standard output, even with a reader of a stream attached."""
    with ServerProcess(tmp_path, renderer="stored-clip", render_seconds=30) as server:
        caller = server.start()
        request_id = caller.submit(video_body)["request_id"]
        with caller.http.stream("GET", f"/{APP}/requests/{request_id}/status/stream") as stream:
            next(stream.iter_lines())
            assert server.process is not None
            server.process.send_signal(number)
            assert server.process.wait(20) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""


def test_a_folder_serves_one_server(tmp_path: Path) -> None:
    """Two would both run its jobs."""
    with (
        LocalFal(data=tmp_path),
        pytest.raises(StoreUnusable, match="in use by another embedded fal"),
        LocalFal(data=tmp_path),
    ):
        pass


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    """An unknown schema is not touched."""
    with LocalFal(data=tmp_path):
        pass
    with sqlite3.connect(tmp_path / "local-fal.db") as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    db.close()
    with pytest.raises(StoreUnusable, match="schema 99"), LocalFal(data=tmp_path):
        pass


def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """One clear line, nothing served."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnusable), LocalFal(data=tmp_path / "file"):
        pass


def test_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    """And leaves the folder free."""
    with LocalFal() as fal:
        port = int(fal.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), LocalFal(port=port, data=tmp_path):
            pass
    with LocalFal(data=tmp_path):
        pass


def test_a_temporary_folder_goes_with_the_server(video_body: dict[str, Any]) -> None:
    """The bill can be read afterwards all the same."""
    with LocalFal(renderer="stored-clip") as fal, Caller(fal.url) as caller:
        caller.generate(video_body)
        folder = fal.data
        assert folder.exists()
    assert not folder.exists()
    assert len(fal.bill) == 1
    assert str(fal.bill.total_usd.normalize()) == "0.0024075"


def test_the_bill_is_read_from_another_process(tmp_path: Path, video_body: dict[str, Any]) -> None:
    """While the server runs, by folder or by file; a folder without one is an empty bill."""
    code = "import sys; from prefect_ltx.local import Bill; b = Bill(sys.argv[1]); print(len(b), b.total_usd)"
    with LocalFal(renderer="stored-clip", data=tmp_path) as fal, Caller(fal.url) as caller:
        caller.generate(video_body)
        for path in (tmp_path, tmp_path / "local-fal.db"):
            shown = subprocess.run(
                [sys.executable, "-c", code, str(path)],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ,
            )
            assert shown.stdout.split() == ["1", str(fal.bill.total_usd)]
    assert len(Bill(tmp_path / "nothing")) == 0
    assert Bill(tmp_path)
