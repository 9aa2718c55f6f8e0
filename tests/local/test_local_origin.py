"""One server, all of fal's hosts: every way to name one of them, and reply URLs in the manner of the request."""

import asyncio
from typing import Any

import pytest
from local_fal_helpers import APP, INGREDIENT, VIDEO, Caller


@pytest.mark.parametrize(
    ("submit", "headers", "base", "file_base"),
    [
        (f"/{VIDEO}", {}, "{url}", "{url}/files/"),
        (f"/queue/{VIDEO}", {}, "{url}/queue", "{url}/cdn/files/"),
        (f"/{VIDEO}", {"host": "queue.fal.run"}, "http://queue.fal.run", "http://v3.fal.media/files/"),
        (
            f"/{VIDEO}",
            {"host": "queue.falrun.com", "x-forwarded-proto": "https"},
            "https://queue.fal.run",
            "https://v3.fal.media/files/",
        ),
        ("/api/fal/proxy", {"x-fal-target-url": f"https://queue.fal.run/{VIDEO}"}, "{url}", "{url}/files/"),
    ],
)
def test_reply_urls_follow_the_way_the_request_came(
    caller: Caller,
    video_body: dict[str, Any],
    submit: str,
    headers: dict[str, str],
    base: str,
    file_base: str,
) -> None:
    """Flat, by prefix, by Host header, by x-fal-target-url."""
    receipt = caller.post(submit, json=video_body, headers=headers).json()
    request_id = receipt["request_id"]
    assert receipt["response_url"] == f"{base.format(url=caller.url)}/{APP}/requests/{request_id}"
    caller.until(request_id)
    if "x-fal-target-url" in headers:
        headers = {"x-fal-target-url": f"https://queue.fal.run/{APP}/requests/{request_id}"}
        result = caller.get("/api/fal/proxy", headers=headers)
    else:
        prefix = "/queue" if submit.startswith("/queue/") else ""
        result = caller.get(f"{prefix}/{APP}/requests/{request_id}", headers=headers)
    assert result.json()["video"]["url"].startswith(file_base.format(url=caller.url))


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/run/{INGREDIENT}", {}),
        (f"/{INGREDIENT}", {"host": "fal.run"}),
        ("/anything", {"x-fal-target-url": f"https://fal.run/{INGREDIENT}"}),
    ],
)
def test_run_is_told_from_submit(
    caller: Caller, sheet_body: dict[str, Any], path: str, headers: dict[str, str]
) -> None:
    """The one path that would collide is found by its prefix or its host."""
    assert set(caller.post(path, json=sheet_body, headers=headers).json()) == {"video", "seed", "prompt"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/models", {}),
        ("/api/v1/models", {}),
        ("/v1/models", {"host": "api.fal.ai"}),
        ("/", {"x-fal-target-url": "https://api.fal.ai/v1/models?category=image-to-video"}),
    ],
)
def test_the_platform_api_is_found_everywhere(caller: Caller, path: str, headers: dict[str, str]) -> None:
    """Its paths start with /v1; a target URL brings its own query."""
    listed = [model["endpoint_id"] for model in caller.get(path, headers=headers).json()["models"]]
    assert INGREDIENT in listed
    assert (VIDEO in listed) == ("x-fal-target-url" not in headers)


def test_a_target_that_is_no_url_is_ignored(caller: Caller) -> None:
    """The path of the request itself counts then."""
    assert caller.get("/v1/meta", headers={"x-fal-target-url": "https://[bad"}).status_code == 200


def test_files_are_reached_by_prefix_and_by_host(caller: Caller) -> None:
    """The CDN is one place under three names."""
    token = caller.post("/rest/storage/auth/token?storage_type=fal-cdn-v3", json={}).json()
    assert token["base_url"] == f"{caller.url}/cdn"
    upload = caller.post(
        "/cdn/files/upload", content=b"abc", headers={"authorization": f"Bearer {token['token']}"}
    ).json()
    path = upload["access_url"].removeprefix(f"{caller.url}/cdn")
    assert caller.get(upload["access_url"]).content == b"abc"
    assert caller.get(path).content == b"abc"
    assert caller.get(path, headers={"host": "v3b.fal.media"}).content == b"abc"


def test_every_reply_carries_a_request_id_and_json(caller: Caller) -> None:
    """x-fal-request-id also on what has no request, and application/json on what is not found."""
    for path in ("/v1/models", "/.well-known/jwks.json", "/v1/nothing", "/files/nothing"):
        reply = caller.get(path)
        assert reply.headers["x-fal-request-id"]
        assert reply.headers["content-type"] == "application/json"


def test_browsers_are_let_in_and_may_read_the_id(caller: Caller) -> None:
    """CORS: preflight for any header, x-fal-request-id exposed."""
    asking = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-fal-queue-priority",
    }
    preflight = caller.http.options(f"/{VIDEO}", headers=asking)
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    reply = caller.get("/v1/meta", headers={"origin": "http://localhost:3000"})
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "x-fal-request-id" in reply.headers["access-control-expose-headers"]


def test_the_page_says_that_this_is_not_the_model(caller: Caller, video_body: dict[str, Any]) -> None:
    """A stand-in, the endpoints, the bill."""
    caller.generate(video_body)
    page = caller.get("/").text
    assert "This is a stand-in, not the model" in page
    assert f"{caller.url}/{VIDEO}" in page
    assert "1 charges, $0.0024075" in page


async def test_a_slow_render_does_not_hold_up_other_requests(video_body: dict[str, Any]) -> None:
    """Renders run outside the event loop: the server answers while one blocks."""
    import threading
    from pathlib import Path

    from prefect_ltx.local import LocalFal, RenderJob, Report

    class Blocking:
        def __init__(self) -> None:
            self.go = threading.Event()

        def render(self, job: RenderJob, progress: Report, cancelled: threading.Event) -> Path:
            self.go.wait(20)
            raise RuntimeError("no clip")

    renderer = Blocking()
    with LocalFal(renderer=renderer) as fal, Caller(fal.url) as caller:
        request_id = (await asyncio.to_thread(caller.submit, video_body))["request_id"]
        await asyncio.to_thread(caller.until, request_id, "IN_PROGRESS")
        assert (await asyncio.to_thread(caller.get, "/v1/meta")).status_code == 200
        renderer.go.set()
        await asyncio.to_thread(caller.until, request_id)
        reply = await asyncio.to_thread(caller.result, request_id)
        assert (reply.status_code, reply.headers["x-fal-retryable"]) == (500, "true")
        assert len(fal.bill) == 0
