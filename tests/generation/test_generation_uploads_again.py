"""An upload that fal no longer has is not sent again: it is dropped when fal says so, and looked at before use."""

from typing import Any

import pytest
from generation_parts import submitted
from support import submits

from prefect_ltx.fal import FalValidationError
from prefect_ltx.generation import Services, upload, wait_for
from prefect_ltx.ledger import State
from prefect_ltx.local import LocalFal


def uploads(fal: LocalFal) -> int:
    """How many files were brought to the server's storage."""
    return sum(1 for method, path, _ in fal.log if method == "POST" and path.endswith("/files/upload"))


@pytest.mark.parametrize("billed", [True, False])
async def test_a_file_that_fal_could_not_read_is_uploaded_again(
    services: Services, fal: LocalFal, make_request: Any, billed: bool
) -> None:
    """A 422 about an input, billed or not, drops the remembered upload: the next run pays for a video."""
    fal.faults.add("upload_gone", 1)
    if billed:
        fal.faults.add("bill_422")
    with pytest.raises(FalValidationError, match="file_download_error"):
        await wait_for(services, await submitted(services, make_request()))
    done = await wait_for(services, await submitted(services, make_request()))
    assert done.state is State.COMPLETED
    assert (submits(fal), uploads(fal)) == (2, 2)


@pytest.mark.parametrize("gone", ["{url}/files/gone.png", "http://127.0.0.1:9/files/x.png", "http://["])
async def test_an_upload_that_is_gone_is_noticed_before_it_is_sent(
    services: Services, fal: LocalFal, make_request: Any, gone: str
) -> None:
    """A server without the file, one that is no longer there, an address that is none: uploaded again, free."""
    media = await upload(services, make_request().image_url)
    account = services.account
    await services.ledger.save_upload(account, media.sha256, gone.format(url=fal.url))
    row = await submitted(services, make_request())
    assert row.body["image_url"] == await services.ledger.find_upload(account, media.sha256)
    assert (await wait_for(services, row)).state is State.COMPLETED
    assert uploads(fal) == 2


async def test_an_upload_that_is_there_is_used_again(
    services: Services, fal: LocalFal, make_request: Any
) -> None:
    """The same bytes are brought to fal once."""
    first = await submitted(services, make_request())
    second = await submitted(services, make_request(seed=8))
    assert first.body["image_url"] == second.body["image_url"]
    assert uploads(fal) == 1
