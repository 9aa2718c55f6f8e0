"""What a person sees in the Prefect UI: pictures, what was asked and made, the price, the place.

Both of Prefect's interfaces are served: a small animated WebP as a data URI moves in both, while `<video>` is
stripped by the newer one (reference prefect §5).
"""

import base64

from prefect.artifacts import acreate_markdown_artifact

from prefect_ltx.archive import ArchiveError, Manifest
from prefect_ltx.flows.naming import REHEARSAL, code_block, unmarked, words_of
from prefect_ltx.generation import ArchivedGeneration, Services
from prefect_ltx.ledger.life.budget import dollars
from prefect_ltx.recovery import SweepReport
from prefect_ltx.tasks.context import run_logger

PICTURE_LIMIT_BYTES = 300_000


async def publish_artifact(services: Services, result: ArchivedGeneration) -> None:
    """One markdown artifact for a generation; a picture that cannot be read is left out, never fatal."""
    manifest = await services.archive.manifest(result.folder)
    if manifest is None:
        return
    picture = await _picture(services, manifest)
    link = services.archive.link(f"{manifest.folder}/{manifest.video.name}") if manifest.video else ""
    what = f"{result.endpoint.rsplit('/', 1)[-1]}, seed {result.seed}"
    await acreate_markdown_artifact(
        generation_markdown(result, manifest, picture, link),
        key=f"ltx-generation-{result.generation_id[:12]}",
        description=f"{unmarked(words_of(manifest.prompt_sent))} ({what})",
    )


def generation_markdown(
    result: ArchivedGeneration, manifest: Manifest, picture: str | None, link: str = ""
) -> str:
    """The artifact's text; prompts stand in code blocks, where nothing in them is rendered. `link` opens the video."""
    delivered, asked = manifest.delivered, manifest.asked
    billed = "not known yet" if result.price_billed_usd is None else dollars(result.price_billed_usd)
    compared = {
        "Size": (
            f"{asked.get('width')}x{asked.get('height')}",
            f"{delivered.get('width')}x{delivered.get('height')}",
        ),
        "Frames": (asked.get("num_frames"), delivered.get("num_frames")),
        "Frames a second": (_rate(asked.get("frames_per_second")), delivered.get("fps")),
        "Audio": (_yes(asked.get("audio")), _yes(delivered.get("audio"))),
        "Seed": (f"`{manifest.request.get('seed', result.seed)}`", f"`{result.seed}`"),
        "Price": (f"{dollars(result.price_expected_usd)} expected", f"**{billed}**"),
    }
    places = {
        "Endpoint": _endpoint(result.endpoint, stand_in=manifest.stand_in),
        "Request": f"`{result.request_id}`",
        "Generation": f"`{result.generation_id}`",
        "Video": f"`{result.video}`",
        "Manifest": f"`{result.manifest}`",
    }
    table = ["| | Asked | Delivered |", "|---|---|---|"]
    table += [f"| {name} | {was} | {now} |" for name, (was, now) in compared.items()]
    where = ["| Where | |", "|---|---|", *(f"| {name} | {value} |" for name, value in places.items())]
    parts = [
        f"![preview]({picture})" if picture else "",
        f"[Open the video]({link})" if link else "",
        "\n".join(table),
    ]
    if result.reused:
        parts.append("Paid for by an earlier run; this one cost nothing.")
    if manifest.stand_in:
        parts.insert(
            0,
            REHEARSAL,
        )
    parts += [f"- fal delivered {difference}" for difference in result.differences]
    parts += [*_findings(result), *_refused(result)]
    parts += ["**Prompt**", code_block(manifest.prompt_sent)]
    if manifest.prompt_expanded and manifest.prompt_expanded != manifest.prompt_sent:
        parts += ["**Expanded by fal to**", code_block(manifest.prompt_expanded)]
    parts.append("\n".join(where))
    return "\n\n".join(part for part in parts if part)


def _findings(result: ArchivedGeneration) -> list[str]:
    record = result.quality
    if record is None or not record.findings:
        return []
    lines = ["| Quality | Where | Finding | Picture |", "|---|---|---|---|"]
    for each in record.findings:
        span = "" if each.start_seconds is None else f"{each.start_seconds:.2f} to {each.end_seconds:.2f} s"
        picture = f"`{each.picture}`" if each.picture else ""
        lines.append(f"| {_cell(each.severity)} | {span} | {_cell(each.message)} | {picture} |")
    verdict = {
        "trim": f"Renditions begin at frame {record.trimmed_frames}; the archived original is whole.",
        "reject": "**Rejected by the quality policy.** The video is archived all the same.",
        "next_seed": "**Refused by the quality policy.** The video is archived, and another seed may be bought.",
    }.get(record.verdict, "")
    return ["\n".join(lines), verdict]


def _refused(result: ArchivedGeneration) -> list[str]:
    if not result.refused:
        return []
    lines = ["| Refused before | Seed | Paid | Why |", "|---|---|---|---|"]
    lines += [
        f"| `{each.generation_id}` | `{each.seed}` "
        f"| {dollars(each.price_usd)}{' (by an earlier run)' if each.reused else ''} "
        f"| {_cell('; '.join(each.reasons))} |"
        for each in result.refused
    ]
    return ["\n".join(lines)]


def sweep_markdown(report: SweepReport) -> str:
    """The sweep's report as a table, with what needs a person first."""
    lines = (
        [f"**A person has to decide about {len(report.needs_a_person)}.**"] if report.needs_a_person else []
    )
    lines += ["| Generation | Request | Before | After | Note |", "|---|---|---|---|---|"]
    lines += [
        f"| `{each.generation_id}` | `{each.request_id}` | {each.before} | {each.after} | {_cell(each.note)} |"
        for each in report.items
    ]
    lines += [f"- Charged twice: {_cell(each)}" for each in report.double_charges]
    lines += [f"- Cost something else than expected: {_cell(each)}" for each in report.drift]
    lines += [f"- At fal and in no row of this ledger: `{each}`" for each in report.orphans]
    lines += [f"- Stopped at an error: {_cell(each)}" for each in report.broken]
    if report.other_accounts:
        lines.append(f"- Of other accounts, left alone: {len(report.other_accounts)}")
    lines += [f"- {_cell(each)}" for each in report.notes]
    return "\n".join(lines)


async def _picture(services: Services, manifest: Manifest) -> str | None:
    for role in ("preview", "poster"):
        for each in manifest.files:
            if each.role == role and each.size <= PICTURE_LIMIT_BYTES:
                try:
                    data = await services.archive.read_bytes(f"{manifest.folder}/{each.name}")
                except ArchiveError as error:
                    run_logger().warning("No picture in the artifact: %s", error)
                    return None
                return f"data:{each.content_type};base64,{base64.b64encode(data).decode()}"
    return None


def _rate(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _endpoint(endpoint: str, *, stand_in: bool) -> str:
    # The model's own page: an address without a query that anybody may open.
    return f"`{endpoint}`" if stand_in else f"[{endpoint}](https://fal.ai/models/{endpoint})"


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")
