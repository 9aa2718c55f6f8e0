"""`prefect-ltx local-fal`: serve the embedded fal, a stand-in for trying, testing and rehearsing."""

from pathlib import Path
from typing import Annotated

import typer

from prefect_ltx.cli.frame import Output, command


class LocalFalError(Exception):
    """The embedded fal cannot be started as asked."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "local-fal", settings=False)(local_fal)


def local_fal(
    output: Output,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where its files and its bill are kept.")] = Path(
        "prefect-ltx-local-fal"
    ),
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Faults to inject, as JSON or YAML.")
    ] = None,
    render_seconds: Annotated[
        float, typer.Option(min=0, help="How long each job takes on the server's clock.")
    ] = 0.0,
    renderer: Annotated[
        str | None, typer.Option(metavar="MODULE:OBJECT", help="Another renderer in place of the drawn one.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name that it answers to, and whose pages may read it."),
    ] = None,
    allow_loopback: Annotated[
        bool,
        typer.Option(
            "--allow-loopback",
            help="Fetch media from this machine and deliver webhooks to it, on other ports.",
        ),
    ] = False,
) -> None:
    """Serve the embedded fal. Prints `ready http://127.0.0.1:PORT` when it listens; Ctrl-C ends it.

    It is not the model: its pictures are drawn. Nothing costs anything.
    """
    from prefect_ltx.local import serve

    try:
        serve(
            host=host,
            port=port,
            data=data,
            faults_file=faults,
            render_seconds=render_seconds,
            renderer=renderer,
            allow_hosts=allow_host or (),
            allow_loopback=allow_loopback,
        )
    except ValueError as error:
        raise LocalFalError(f"{faults}: {error}") from error
