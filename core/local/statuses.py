"""What fal says about where a request stands (fal-protocol §1.4): three statuses, each with its own
fields."""

from typing import Any, Final

from prefect_ltx.local.job import Job
from prefect_ltx.local.jobs import Jobs, logs_of
from prefect_ltx.local.origin import Origin
from prefect_ltx.local.rows import RequestRow

APP: Final = "fal-ai/ltx-2.3-quality"


def request_urls(origin: Origin, request_id: str) -> dict[str, str]:
    """The three URLs of a request. They live under owner/app, without the endpoint's last part (§1.3)."""
    base = origin.url("queue", f"/{APP}/requests/{request_id}")
    return {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}


def active_status(origin: Origin, jobs: Jobs, job: Job, logs: list[dict[str, str]] | None) -> dict[str, Any]:
    """The status body of a request that is not finished."""
    body: dict[str, Any] = {"request_id": job.row.request_id, **request_urls(origin, job.row.request_id)}
    if job.state == "queued":
        return {"status": "IN_QUEUE", **body, "queue_position": jobs.position(job)}
    return {"status": "IN_PROGRESS", **body, "logs": logs}


def final_status(origin: Origin, row: RequestRow, logs: list[dict[str, str]] | None) -> dict[str, Any]:
    """The status body of a finished request; a failed or cancelled one is COMPLETED too."""
    body: dict[str, Any] = {
        "status": "COMPLETED",
        "request_id": row.request_id,
        **request_urls(origin, row.request_id),
        "logs": logs,
        "metrics": {},
    }
    if row.inference_seconds is not None:
        body["metrics"]["inference_time"] = row.inference_seconds
    if row.error is not None:
        body["error"] = row.error
    if row.error_type is not None:
        body["error_type"] = row.error_type
    return body


def final_logs(row: RequestRow, wanted: bool) -> list[dict[str, str]] | None:
    """A finished request's log: null unless asked for."""
    return logs_of(row) if wanted else None
