"""`prefect-ltx doctor`: is everything as it has to be, and if not, what helps. `--live` asks fal, for cents."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefect_ltx.cli.frame import Output, command
from prefect_ltx.cli.printing import write_note

if TYPE_CHECKING:
    from prefect_ltx.doctor import Finding, LivePlan
    from prefect_ltx.generation.learned import Learned

MARKS = {
    "ok": "[green]ok[/green]",
    "info": "note",
    "warning": "[yellow]warning[/yellow]",
    "error": "[red]error[/red]",
}


class NotAgreed(Exception):
    """Nobody agreed to spend, so nothing was sent or spent."""

    __module__ = "prefect_ltx.cli.doctor"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    command(app, "doctor")(doctor)


async def doctor(
    output: Output,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Learn from fal what no page says; spends at most $0.05, after you agree."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to what --live spends.")] = False,
) -> bool:
    """Check this installation and its settings; each finding comes with its remedy.

    Looks at the key, fal's hosts, ffmpeg, PyAV, disks, the ledger, the archive (a write-once probe), Prefect's
    versions and server, clocks, and settings that cannot work together. Spends nothing. With --live it makes three of
    the smallest videos to learn how fal treats sizes, frame counts, its listing and its bill, and writes that down
    where the settings that depend on it are read. Exit code 1 if there is an error.
    """
    import asyncio

    from prefect_ltx.cli.doctor_prefect import check_server, check_versions
    from prefect_ltx.cli.tables import grid
    from prefect_ltx.doctor import check_all
    from prefect_ltx.settings import Settings

    settings = Settings()
    findings = await asyncio.to_thread(check_versions)
    if any(each.severity == "error" for each in findings):
        machines = None  # a server is not asked by a client that may not import
    else:
        about_server, machines = await check_server()
        findings += about_server
    findings = await check_all(settings, machines=machines) + findings
    fine = not any(each.severity == "error" for each in findings)
    learned = await _live(findings, yes=yes) if live and fine else None
    rows = [(each.check, each.severity, each.what, each.remedy) for each in findings]
    data = {"ok": fine, "findings": findings, "learned": learned}
    shown: list[Any] = [grid(("check", "", "what", "remedy"), rows)]
    shown += _answers(learned) if learned else []
    if live and not fine:
        shown.append("--live was left out: mend the errors first. Nothing was sent or spent.")
    output.result(data, *shown)
    return fine


async def _live(findings: "list[Finding]", *, yes: bool) -> "Learned":
    from prefect_ltx.cli.progress import say
    from prefect_ltx.doctor import info, learn, plan_live
    from prefect_ltx.generation import Services
    from prefect_ltx.ledger import Owner
    from prefect_ltx.settings import Settings

    settings = Settings()
    owner = Owner.here(announces_posts=True)
    with tempfile.TemporaryDirectory(prefix="prefect-ltx-doctor-") as folder:
        async with Services.from_settings(settings) as services:
            plan = await plan_live(services, Path(folder), owner)
            _agreed(plan, services.client.hosts.queue, yes=yes)
            say(f"Making {len(plan.probes)} small videos, and reading fal's listing until it shows them")
            learned, path = await learn(services, plan, owner, settings)
    findings.append(info("live", f"What was learned is in {path}; settings that are set win over it"))
    return learned


def _agreed(plan: "LivePlan", where: str, *, yes: bool) -> None:
    """Show the price and take a typed yes.

    Raises:
        NotAgreed: it was not given.
    """
    from prefect_ltx.ledger.life.budget import dollars

    sizes = ", ".join(f"{each.estimate.megapixels} MP" for _, each in plan.probes)
    write_note(
        f"doctor --live sends {len(plan.probes)} requests ({sizes}) to {where}. They cost at most "
        f"{dollars(plan.upper_usd)}.\nWhat is learned of fal's listing may later prove that a request never arrived, "
        "so that it is sent again instead of parked."
    )
    if yes:
        return
    if sys.stdin.isatty():
        sys.stderr.write(f"Type yes to spend up to {dollars(plan.upper_usd)}: ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() == "yes":
            return
    raise NotAgreed("Nobody agreed. Nothing was sent or spent. Type yes when asked, or give --yes.")


def _answers(learned: "Learned") -> list[Any]:
    from prefect_ltx.cli.tables import facts

    def said(answer: bool | str | None) -> str:
        if isinstance(answer, bool):
            return "yes" if answer else "no"
        return answer or "not told"

    lag, auto = learned.listing_lag_seconds, learned.auto_size
    rows = {
        "listing shows queued requests": said(learned.listing_shows_queued),
        "listing lag": "not told" if lag is None else f"{lag:g} s",
        "listing has payloads": said(learned.listing_has_payloads),
        'size behind "auto", 16:9': "not told" if auto is None else f"{auto[0]}x{auto[1]}",
        "sizes off the grid of 64": said(learned.sizes),
        "frame counts off 8k+1": said(learned.frames),
        "billed by": said(learned.billed_by),
        "spent": f"${learned.spent_usd}",
    }
    return [facts(rows, title="Learned")]
