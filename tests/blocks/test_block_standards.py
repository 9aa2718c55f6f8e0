"""The blocks meet Prefect's own standards for collections, and keep their secrets."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError
from support import SECRET

from prefect_ltx import blocks
from prefect_ltx.blocks import (
    FalCredentials,
    GenerationLedger,
    GenerationPreset,
    SpendingBudget,
    VideoArchive,
)
from prefect_ltx.blocks._forms import SITE

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "block", [FalCredentials, GenerationLedger, GenerationPreset, SpendingBudget, VideoArchive]
)
class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, block: type[Block]) -> type[Block]:
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """The logo is on this project's site, square, and of a size that Prefect takes."""
        name = str(block._logo_url).removeprefix(SITE)
        with Image.open(DOCS / name) as logo:
            assert logo.width == logo.height
            assert 45 < logo.width < 1000

    def test_its_documentation_is_this_project_s(self, block: type[Block]) -> None:
        """The link leads to a page that there is, on the site that the package names."""
        name = str(block._documentation_url).removeprefix(SITE)
        assert (DOCS / f"{name.rstrip('/')}.md").is_file()
        urls = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["urls"]
        assert urls["Documentation"] == SITE

    def test_its_form_can_simply_be_filled_in(self, block: type[Block]) -> None:
        """No field of text is a choice between text and nothing, none opens as None, money has one type."""
        fields = block.model_json_schema()["properties"]
        assert all(each["title"] and each["description"] for each in fields.values())
        texts = {name: each for name, each in fields.items() if each.get("type") == "string"}
        assert not [name for name, each in texts.items() if "default" in each and each["default"] is None]
        assert {each.get("type") for name, each in fields.items() if "usd" in name} <= {"number", "object"}
        assert not [name for name, each in fields.items() if "anyOf" in each]


def test_the_catalogue_has_no_bogus_types() -> None:
    """Registering the package makes its five blocks and nothing that is only a class of theirs."""
    ours = {each for each in vars(blocks).values() if isinstance(each, type) and issubclass(each, Block)}
    assert {each.__name__ for each in ours} == {
        "FalCredentials",
        "GenerationLedger",
        "GenerationPreset",
        "SpendingBudget",
        "VideoArchive",
    }
    parents = {parent.__name__ for each in ours for parent in each.__mro__}
    assert not [name for name in parents if "[" in name]


def test_what_a_form_leaves_empty_is_none() -> None:
    """An empty text, a blank one and nothing mean the same."""
    block = FalCredentials.model_validate({"api_key": "", "base_url": " ", "account": ""})
    assert (block.api_key, block.base_url, block.account) == (None, None, None)


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
