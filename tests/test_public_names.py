"""The names that users' flows depend on: `design.md` fixes them, and none may go or change its room."""

import importlib

import pytest

NAMES = {
    "prefect_ltx.fal": "ReferenceVideoRequest IngredientRequest ImageSize GeneratedVideo FalClient FalError "
    "verify_webhook megapixels price_usd",
    "prefect_ltx.ledger": "Ledger generation_key",
    "prefect_ltx.archive": "Archive Manifest",
    "prefect_ltx.local": "LocalFal",
    "prefect_ltx.blocks": "FalCredentials GenerationLedger VideoArchive SpendingBudget",
    "prefect_ltx.tasks": "upload_media submit_generation await_generation download_video postprocess_video "
    "archive_video",
    "prefect_ltx.flows": "reference_video_to_video ingredient_to_video generate_batch best_of_takes storyboard_film "
    "submit_only finish_generation sweep",
}


@pytest.mark.parametrize("room", NAMES)
def test_public_names_are_where_they_were(room: str) -> None:
    """Every fixed name is exported by its room."""
    module = importlib.import_module(room)
    assert set(NAMES[room].split()) <= set(module.__all__)
