"""`prefect-ltx webhook`: receive fal's webhooks, verify and record them, and turn them into Prefect events."""

from typing import Annotated

import typer

from prefect_ltx.cli.frame import Output, command
from prefect_ltx.cli.printing import write_result


class WebhookReceiverError(Exception):
    """The receiver cannot be started as asked."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "webhook")(webhook)


async def webhook(
    output: Output,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
    max_bytes: Annotated[
        int, typer.Option(min=1024, help="The largest body that is read; fal's are a few kilobytes.")
    ] = 1024 * 1024,
    jwks_floor: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="The least time between two questions for fal's keys."),
    ] = 30.0,
    again_after: Annotated[
        float,
        typer.Option(
            min=1, metavar="SECONDS", help="When a finished generation that nobody collected is told again."
        ),
    ] = 900.0,
) -> None:
    """Receive fal's webhooks. Prints `ready http://HOST:PORT` when it listens; Ctrl-C ends it.

    Answers 2xx once a webhook is in the ledger, then raises `ltx.generation.completed` in Prefect. Never spends.
    It listens without TLS: put it behind the reverse proxy whose public URL is PREFECT_LTX_WEBHOOK_URL.
    """
    import logging
    import sys

    from prefect_ltx.deployments.webhook import serve_webhooks
    from prefect_ltx.fal.quiet import without_queries_in_logs
    from prefect_ltx.settings import Settings

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("prefect_ltx")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with without_queries_in_logs():
            await serve_webhooks(
                Settings(),
                host=host,
                port=port,
                max_bytes=max_bytes,
                key_floor=jwks_floor,
                again_after=again_after,
                on_ready=lambda url: write_result(f"ready {url}\n"),
            )
    except OSError as error:
        raise WebhookReceiverError(f"{host}:{port} cannot be listened on: {error.strerror}") from error
