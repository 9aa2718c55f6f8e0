"""The FastAPI app of the embedded fal: the routes of every area over one site."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from prefect_ltx.local import (
    control,
    files,
    page,
    platform,
    platform_money,
    platform_requests,
    queue,
    storage,
    submit,
    wellknown,
)
from prefect_ltx.local.edges import EdgeMiddleware
from prefect_ltx.local.errors import Refusal
from prefect_ltx.local.jobs import Jobs
from prefect_ltx.local.origin import OriginMiddleware
from prefect_ltx.local.replies import json_reply, refusal_reply, server_error
from prefect_ltx.local.site import Site
from prefect_ltx.local.webhooks import Webhooks

_EXPOSED = (
    "x-fal-request-id",
    "x-fal-billable-units",
    "x-fal-error-type",
    "x-fal-retryable",
    "x-fal-needs-retry",
    "x-fal-request-timeout-type",
    "etag",
    "content-range",
    "accept-ranges",
)


def build_app(site: Site) -> FastAPI:
    """The app. Its lifespan takes up what an earlier server left, and leaves to the next what it cannot
    finish."""
    app = FastAPI(
        title="prefect-ltx embedded fal",
        lifespan=_lifespan,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=list(_EXPOSED),
            ),
            Middleware(OriginMiddleware),
            Middleware(EdgeMiddleware),
        ],
        exception_handlers={
            Refusal: refusal_reply,
            ClientDisconnect: _gone,
            404: _not_found,
            405: _not_found,
            Exception: _failed,
        },
    )
    serve_from(app, site)
    # The routes of a request, and submit last of all, match any path: what is named exactly comes first.
    # They are the app's own, in one list: routers that are included are matched one within the other, and twice.
    for part in (page, wellknown, control, platform, platform_requests, platform_money, storage, files):
        app.router.routes.extend(part.router.routes)
    app.router.routes.extend(queue.router.routes)
    app.router.routes.extend(submit.run_router.routes)
    app.router.routes.extend(submit.submit_router.routes)
    return app


def serve_from(app: FastAPI, site: Site) -> None:
    """Let an app that does not serve serve this site, with a queue and webhooks of its own."""
    app.state.site = site
    app.state.webhooks = Webhooks(site)
    app.state.jobs = Jobs(site, app.state.webhooks)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    jobs, webhooks = app.state.jobs, app.state.webhooks
    await jobs.start()
    await webhooks.start()
    yield
    await jobs.stop()
    await webhooks.stop()


async def _gone(request: Request, error: Any) -> Response:
    return Response(status_code=499)


async def _failed(request: Request, error: Any) -> Response:
    return server_error(500)


async def _not_found(request: Request, error: Any) -> Response:
    status = getattr(error, "status_code", 404)
    return json_reply({"detail": "Not Found" if status == 404 else "Method Not Allowed"}, status)
