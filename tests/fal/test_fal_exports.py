import subprocess
import sys

import prefect_ltx.fal as room

# Held fixed by the design, because users' flows depend on them.
DESIGN = {
    "ReferenceVideoRequest",
    "IngredientRequest",
    "ImageSize",
    "GeneratedVideo",
    "FalClient",
    "FalError",
    "verify_webhook",
    "megapixels",
    "price_usd",
}
# Other rooms use these.
ROOMS = {
    *("REFERENCE_VIDEO", "INGREDIENT", "ResolutionPreset", "PRESET_SIZES", "GenerationRequest"),
    *("parse_request", "FrameRule", "snap_num_frames", "FalFile", "requested_size", "upper_bound_size"),
    *("UNIT_PRICE_USD", "usd_to_nano", "nano_to_usd", "Billed", "FieldProblem", "FalHosts", "plain"),
    *("SubmitReceipt", "QueueStatus", "LogEntry", "GenerationResult", "CancelOutcome", "ListedRequest"),
    *("ModelPrice", "BillingEvent", "Downloaded", "VerifiedWebhook", "strip_url"),
    *("MEDIA_KINDS", "MediaKind", "media_kind", "extra_media", "INGREDIENT_AUTO", "upper_bound_megapixels"),
    *("FalRequestInvalid", "FalAuthenticationError", "FalAccountLocked", "FalPermissionDenied"),
    *("FalNotFound", "FalRateLimited", "FalValidationError", "FalRequestRejected", "FalGenerationFailed"),
    *("FalGenerationCancelled", "FalResultExpired", "FalResultNotReady", "FalSubmitUnknown", "FalNotSent"),
    *("FalUnavailable", "FalProtocolError", "FalUploadError", "FalDownloadError", "FalHostRefused"),
    *("WebhookError", "WebhookHeaderMissing", "WebhookStale", "WebhookSignatureInvalid"),
    *("Moment", "Heard", "FalClock", "FalGateway", "Listing", "Service", "FAL", "custom_service"),
    *("read_video", "storable", "storable_json"),
    *(
        "AnyRequest",
        "EndpointName",
        "endpoint_model",
        "endpoint_models",
        "endpoint_name",
        "register_endpoint",
    ),
    *("WebhookMalformed", "WebhookWrongUser", "WebhookKeysUnusable"),
}


def test_the_public_names_are_these() -> None:
    """Nothing that others rely on goes away, and nothing becomes public unnoticed."""
    assert set(room.__all__) == DESIGN | ROOMS
    assert all(hasattr(room, name) for name in room.__all__)


def test_the_room_knows_no_prefect() -> None:
    """Importing the room imports neither Prefect nor a database."""
    code = "import sys, prefect_ltx.fal; print(*{'prefect', 'sqlalchemy', 'fastapi'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
