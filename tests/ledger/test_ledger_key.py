"""The key: same key, same video; anything that changes the video changes the key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest
from prefect_ltx.ledger import KeyNotComputable, generation_key
from prefect_ltx.ledger.key import canonical_json

INGREDIENT = IngredientRequest.ENDPOINT
SHEET = {"image_url": "a" * 64}
REQUEST: dict[str, Any] = {"prompt": "a copper pan", "image_url": "https://cdn/sheet.png?sig=1", "seed": 7}


def key(
    body: Any = None, media: dict[str, str] | None = None, *, account: str = "account-1", **changes: Any
) -> str:
    return generation_key(
        account, INGREDIENT, {**REQUEST, **changes} if body is None else body, media or SHEET
    )


def test_the_key_of_a_release_stays_what_it_is() -> None:
    """A changed key would make everything that is archived be paid for again."""
    assert key() == "09c448e565c9c54c2d19ecc81f31d0d8443110d600a1e91c6e1aad2d0d1e0632"


def test_defaults_are_filled_in() -> None:
    """A request that spells out a default is the same request."""
    model = IngredientRequest(**REQUEST)
    assert key() == key(model) == key(model.body()) == key(num_frames=121, generate_audio=True)


def test_media_count_by_content_not_by_place() -> None:
    """A new signature or another host is the same input; other bytes are not."""
    assert key() == key(image_url="https://elsewhere/x.png") == key(media={"image_url": "A" * 64})
    assert key() != key(media={"image_url": "b" * 64})


def test_how_it_is_delivered_does_not_count() -> None:
    """sync_mode changes the reply, not the video."""
    assert key() == key(sync_mode=True)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"prompt": "a copper pot"},
        {"num_frames": 129},
        {"generate_audio": False},
        {"new_field": 1},
    ],
)
def test_everything_else_counts(change: dict[str, Any]) -> None:
    """Any field, documented or not, makes another video."""
    assert key(**change) != key()


def test_account_and_endpoint_count() -> None:
    """Another account has not paid; another endpoint makes another video."""
    assert key(account="account-2") != key()
    other = {"prompt": "x", "video_url": "v", "image_url": "i", "seed": 7}
    media = {"video_url": "a" * 64, "image_url": "b" * 64}
    assert generation_key("a", ReferenceVideoRequest.ENDPOINT, other, media) != generation_key(
        "a", "another/endpoint", other, media
    )


def test_equal_numbers_are_equal() -> None:
    """24 frames a second are 24.0."""
    assert key(frames_per_second=24) == key(frames_per_second=24.0)
    assert key(extra=True) != key(extra=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, object(), {1: 2}, {"a": {1}}, b"x"])
def test_what_has_no_canonical_form_has_no_key(value: object) -> None:
    """A key that cannot be computed stops the run."""
    with pytest.raises(KeyNotComputable, match="Nothing was sent or spent"):
        key(extra=value)


@pytest.mark.parametrize("media", [{"image_url": ""}, {"image_url": "https://x"}, {"image_url": "g" * 64}])
def test_a_digest_must_be_one(media: dict[str, str]) -> None:
    """64 hex digits, not a URL and not empty."""
    with pytest.raises(KeyNotComputable, match="sha256"):
        key(media=media)


def test_media_that_nobody_hashed_stop_the_run() -> None:
    """A URL is no identity, and an account is needed."""
    with pytest.raises(KeyNotComputable, match="has not been hashed"):
        generation_key("account-1", INGREDIENT, REQUEST, {})
    with pytest.raises(KeyNotComputable, match="account"):
        key(account="")


def test_an_invalid_request_has_no_key() -> None:
    """What fal would refuse is not keyed, and the message shows no URL query."""
    with pytest.raises(KeyNotComputable, match="num_frames") as error:
        key(num_frames=1)
    assert "sig=1" not in str(error.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False).filter(bool),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_the_order_of_names_does_not_count(body: dict[str, Any]) -> None:
    """The same data in any order is the same text, and ASCII only."""
    text = canonical_json(body)
    assert canonical_json(dict(reversed(body.items()))) == text
    assert text.isascii()


@given(JSON, JSON)
def test_different_data_are_different_texts(one: Any, other: Any) -> None:
    """Only equal data share a canonical form."""

    def tagged(value: Any) -> Any:
        if isinstance(value, bool | None | str):
            return (type(value).__name__, value)
        if isinstance(value, int | float):
            return ("number", value)
        if isinstance(value, list):
            return [tagged(item) for item in value]
        return {name: tagged(item) for name, item in value.items()}

    assert (canonical_json(one) == canonical_json(other)) == (tagged(one) == tagged(other))
