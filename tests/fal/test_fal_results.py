import pytest
from fal_wire import Answer, Wire, answer

from prefect_ltx.fal import (
    INGREDIENT,
    FalClient,
    FalError,
    FalGateway,
    FalGenerationCancelled,
    FalGenerationFailed,
    FalNotFound,
    FalProtocolError,
    FalResultExpired,
    FalResultNotReady,
    FalUnavailable,
    FalValidationError,
)

ID = "01a083d0-1d3c-7000-8000-00000000000a"
ROOT = f"/fal-ai/ltx-2.3-quality/requests/{ID}"
STATUS = f"{ROOT}/status"
VIDEO = {"video": {"url": "https://v3b.fal.media/files/b/x/y.mp4?sig=1"}, "seed": 7, "prompt": "a fox"}
DONE = {"status": "COMPLETED", "request_id": ID, "logs": None, "metrics": {"inference_time": 63.1}}


async def result_error(client: FalClient) -> FalError:
    with pytest.raises(FalError) as caught:
        await client.result(INGREDIENT, ID)
    return caught.value


async def test_a_result_has_video_and_billed_units(client: FalClient, wire: Wire) -> None:
    """The result carries fal's file, the seed, the expanded prompt and the exact units."""
    wire.on(ROOT, answer(VIDEO, x_fal_billable_units="166.526976"))
    result = await client.result(INGREDIENT, ID)
    assert (result.video.video.url, result.video.seed) == (VIDEO["video"]["url"], 7)  # type: ignore[index]
    assert str(result.billable_units) == "166.526976"
    assert result.request_id == ID
    assert "sig" not in repr(result)


@pytest.mark.parametrize("units", ["", "many", "-1", "NaN", "Infinity", "1e400", "1_0", "0x1"])
async def test_unreadable_units_are_no_units(client: FalClient, wire: Wire, units: str) -> None:
    """A strange header does not lose a paid video."""
    wire.on(ROOT, answer(VIDEO, x_fal_billable_units=units))
    assert (await client.result(INGREDIENT, ID)).billable_units is None


async def test_asking_too_early_is_its_own_error(client: FalClient, wire: Wire) -> None:
    """A 400 "still in progress" means wait, and is not repeated at once."""
    wire.on(ROOT, answer({"detail": "Request is still in progress"}, 400))
    assert isinstance(await result_error(client), FalResultNotReady)
    assert len(wire.seen) == 1


async def test_a_422_is_readable_by_field(client: FalClient, wire: Wire) -> None:
    """The field, the message and the type are in one line, with "may have been billed", without signed URLs."""
    detail = [
        {
            "loc": ["body", "num_frames"],
            "msg": "Input should be less than or equal to 481",
            "type": "less_than_equal",
            "url": "https://docs.fal.ai/errors/#less_than_equal",
            "ctx": {"le": 481},
            "input": 999,
        },
        {"loc": ["body", "loras", 0], "msg": "Cannot fetch https://u:p@s3.example/x.mp4?X-Sig=s3cr3t now"},
    ]
    wire.on(ROOT, answer({"detail": detail}, 422, x_fal_retryable="false"))
    error = await result_error(client)
    assert isinstance(error, FalValidationError)
    assert str(error.fields[0]) == (
        "body.num_frames: Input should be less than or equal to 481 (less_than_equal)"
    )
    assert "body.loras.0: Cannot fetch https://s3.example/x.mp4 now" in str(error)
    assert "May have been billed" in str(error)
    assert "s3cr3t" not in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("detail", ["just text", ["text in a list"], [{"msg": 5}], {"a": 1}, None])
async def test_other_shapes_of_a_422_are_still_a_422(client: FalClient, wire: Wire, detail: object) -> None:
    """Models that answer in another shape do not break the client, where a header of fal's says that it is fal."""
    wire.on(ROOT, answer({"detail": detail}, 422, x_fal_request_id=ID))
    error = await result_error(client)
    assert isinstance(error, FalValidationError)
    if isinstance(detail, str):
        assert detail in str(error)


@pytest.mark.parametrize(
    ("failure", "error_type", "retryable"),
    [
        (
            answer({"detail": [{"msg": "x", "type": "internal_server_error"}]}, 500, x_fal_retryable="true"),
            "internal_server_error",
            True,
        ),
        (
            answer(
                {"detail": "x", "error_type": "runner_disconnected"},
                503,
                x_fal_error_type="runner_disconnected",
            ),
            "runner_disconnected",
            None,
        ),
        (answer({"detail": "x"}, 504, x_fal_error_type="startup_timeout"), "startup_timeout", None),
        (answer({"detail": "x"}, 500, x_fal_retryable="false"), "", False),
    ],
)
async def test_a_failure_that_fal_states_is_a_failed_generation(
    client: FalClient, wire: Wire, failure: Answer, error_type: str, retryable: bool | None
) -> None:
    """fal's own error about the run, shape and header together, ends the generation, and 5xx is not billed."""
    wire.on(ROOT, failure)
    error = await result_error(client)
    assert isinstance(error, FalGenerationFailed)
    assert (error.error_type, error.retryable, error.billed) == (error_type, retryable, "no")
    assert len(wire.seen) == 1


@pytest.mark.parametrize(
    "failure",
    [
        Answer(500, b"Internal Server Error"),
        Answer(502, b"<html>nginx</html>"),
        Answer(503, b"", {"x-fal-error-type": "runner_disconnected"}),
        answer({"message": "upstream"}, 504),
        Answer(end="silent"),
    ],
)
async def test_a_bare_5xx_is_not_a_failed_generation(client: FalClient, wire: Wire, failure: Answer) -> None:
    """Where fal does not say that the generation failed, the paid video may still be there."""
    wire.on(ROOT, failure)
    wire.on(STATUS, answer(DONE))
    error = await result_error(client)
    assert type(error) in (FalUnavailable, FalGateway)
    assert len(wire.calls(ROOT)) == 4


DOUBTFUL = [
    answer({"detail": "Internal error"}, 500),
    answer({"detail": "x", "error_type": "internal_error"}, 500, x_fal_error_type="internal_error"),
    answer({"detail": [{"msg": "x", "type": "internal_server_error"}]}, 500),
]


@pytest.mark.parametrize("failure", DOUBTFUL)
async def test_a_doubtful_5xx_is_decided_by_the_status(
    client: FalClient, wire: Wire, failure: Answer
) -> None:
    """An error in fal's shape that may be only this call's own counts once the status says so, not before."""
    wire.on(ROOT, failure)
    wire.on(STATUS, answer(DONE))
    assert type(await result_error(client)) is FalUnavailable
    wire.on(STATUS, answer(DONE | {"error": "Internal error", "error_type": "internal_error"}))
    assert isinstance(await result_error(client), FalGenerationFailed)
    wire.on(STATUS, answer({"status": "IN_PROGRESS", "request_id": ID, "logs": None}))
    assert isinstance(await result_error(client), FalResultNotReady)


async def test_a_404_is_expired_or_unknown(client: FalClient, wire: Wire) -> None:
    """A missing result of a finished request has expired; a request that fal does not know was never ours."""
    wire.on(ROOT, answer({"status": "NOT_FOUND"}, 404))
    wire.on(STATUS, answer(DONE))
    expired = await result_error(client)
    assert isinstance(expired, FalResultExpired)
    assert expired.billed == "maybe"
    wire.on(STATUS, answer({"status": "NOT_FOUND"}, 404))
    assert type(await result_error(client)) is FalNotFound
    wire.on(STATUS, answer({"status": "IN_QUEUE", "queue_position": 1}))
    assert isinstance(await result_error(client), FalResultNotReady)


@pytest.mark.parametrize("status", [405, 410, 413])
async def test_other_ways_to_say_gone(client: FalClient, wire: Wire, status: int) -> None:
    """The codes that third parties saw for purged results mean expired."""
    wire.on(ROOT, answer({"detail": "The result is no longer stored"}, status))
    assert isinstance(await result_error(client), FalResultExpired)
    wire.on(ROOT, Answer(status, b""))
    assert isinstance(await result_error(client), FalGateway)


@pytest.mark.parametrize(
    "failure",
    [
        answer({"detail": "Request was cancelled"}, 499),
        answer({"detail": "x", "error_type": "client_cancelled"}, 400, x_fal_error_type="client_cancelled"),
        answer({"detail": "x", "error_type": "client_disconnected"}, 500),
    ],
)
async def test_a_cancelled_generation_is_its_own_error(
    client: FalClient, wire: Wire, failure: Answer
) -> None:
    """A cancelled request is not a failed one, and what it cost is not known."""
    wire.on(ROOT, failure)
    error = await result_error(client)
    assert isinstance(error, FalGenerationCancelled)
    assert error.billed == "maybe"


async def test_a_400_about_a_finished_request_is_its_outcome(client: FalClient, wire: Wire) -> None:
    """A model's own 400 ends the generation once the request is finished, perhaps billed."""
    wire.on(ROOT, answer({"detail": "downstream said no"}, 400))
    wire.on(STATUS, answer(DONE))
    error = await result_error(client)
    assert isinstance(error, FalGenerationFailed)
    assert error.billed == "maybe"


@pytest.mark.parametrize("body", [{"video": None}, {"video": {"url": ""}}, {"seed": 1}, [], "x"])
async def test_a_result_without_a_video_is_not_believed(client: FalClient, wire: Wire, body: object) -> None:
    """A 200 that holds no video is an unreadable answer, not a failed generation."""
    wire.on(ROOT, answer(body))
    assert isinstance(await result_error(client), FalProtocolError | FalGateway)
