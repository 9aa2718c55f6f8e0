"""The blocks meet Prefect's own standards for collections, and keep their secrets."""

from decimal import Decimal
from pathlib import Path

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError
from support import SECRET

from prefect_ltx.blocks import (
    FalCredentials,
    GenerationLedger,
    GenerationPreset,
    SpendingBudget,
    VideoArchive,
)


@pytest.mark.parametrize(
    "block", [FalCredentials, GenerationLedger, GenerationPreset, SpendingBudget, VideoArchive]
)
class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """No logo: Prefect wants one at a public URL, and this package has no public host to serve it from."""
        assert block._logo_url is None


def test_slugs_are_what_stored_blocks_are_found_by() -> None:
    """A block type's slug is its primary key in every user's Prefect server: it never changes."""
    slugs = [
        each.get_block_type_slug()
        for each in (FalCredentials, GenerationLedger, GenerationPreset, SpendingBudget, VideoArchive)
    ]
    assert slugs == [
        "fal-credentials",
        "generation-ledger",
        "ltx-generation-preset",
        "spending-budget",
        "video-archive",
    ]


def test_secrets_are_hidden() -> None:
    """Neither repr nor JSON of a block shows its key or password."""
    blocks = [
        FalCredentials(api_key=SecretStr(SECRET)),
        GenerationLedger(url=SecretStr(f"postgresql://user:{SECRET}@127.0.0.1/none")),
        VideoArchive(location="s3://bucket/prefix", secret_access_key=SecretStr(SECRET)),
    ]
    for block in blocks:
        assert SECRET not in repr(block) + str(block) + block.model_dump_json()


def test_one_base_url_or_separate_ones() -> None:
    """Hosts are named by one base URL or one by one, never both."""
    one = FalCredentials(base_url="http://127.0.0.1:9")
    assert one.hosts.queue == "http://127.0.0.1:9"
    assert FalCredentials(queue_url="https://queue.example").hosts.rest == "https://rest.fal.ai"
    with pytest.raises(ValidationError, match="not both"):
        FalCredentials(base_url="http://127.0.0.1:9", queue_url="https://queue.example")


def test_budget_block_gives_its_limits() -> None:
    """Each limit that is set becomes one limit of the ledger."""
    limits = SpendingBudget(per_day_usd=Decimal(5), per_tag_usd={"client-a": Decimal(2)}).limits()
    assert [(each.usd, each.period, each.tag) for each in limits] == [
        (5, "day", None),
        (2, "month", "client-a"),
    ]


def test_ledger_and_archive_open(tmp_path: Path) -> None:
    """The blocks open what they name."""
    assert GenerationLedger(url=SecretStr(f"sqlite:///{tmp_path / 'a.db'}")).get_ledger().unfinished() == []
    assert VideoArchive(location=str(tmp_path)).get_archive().location == str(tmp_path)
