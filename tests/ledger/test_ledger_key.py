"""The key: same key, same video; anything that changes the video changes the key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import IngredientRequest, ReferenceVideoRequest
from prefect_ltx.ledger import KeyNotComputable, generation_key, generation_keys
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


OLDER_PRESET = "dec26acf1661612dd500b11fcadd4fa5b723866d7f07787dc50f554c93d64bd5"
OLDER_AUTO = "3c6ec4691ce4e37a5e2dc6c1ff1d3810e6fbf2373d8c64e109b4331a2460deb6"
OLDER_NFD = "632b0d7cc9c9bac5f3e05a1b93af3f347edb15a7bc65bd1f7dc7981736690271"
OLDER_NULL = "dc1f956163e627fbbfd78a4479f6b3ebf83d0914fb24532667a978af056157cc"

SAME = [
    ({"resolution": "landscape_16_9"}, {"resolution": {"width": 1024, "height": 576}}),
    ({"resolution": "square_hd"}, {"resolution": {"height": 1024, "width": 1024}}),
    ({"resolution": "auto"}, {"resolution": {"width": 1536, "height": 896}}),
    ({"resolution": "auto"}, {}),
    ({"prompt": "cafe\u0301"}, {"prompt": "caf\u00e9"}),
    ({"negative_prompt": "\u1112\u1161\u11ab"}, {"negative_prompt": "\ud55c"}),
    ({"style": {"name": "cafe\u0301"}}, {"style": {"name": "caf\u00e9"}}),
    ({"lora": None}, {}),
    ({"lora": {"scale": 1, "path": None}}, {"lora": {"scale": 1.0}}),
    ({"guidance_scale": 2}, {"guidance_scale": 2.0}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_request_is_one_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    """However a size, a text, a number or an absent field is written, the video is bought once."""
    assert key(**one) == key(**other)


@pytest.mark.parametrize(
    ("older", "written"),
    [
        # Computed by the first release from what stands beside them.
        (OLDER_PRESET, {"resolution": "landscape_16_9"}),
        (OLDER_AUTO, {"resolution": "auto"}),
        (OLDER_NFD, {"prompt": "cafe\u0301"}),
        (OLDER_NULL, {"lora": None}),
    ],
)
def test_the_key_of_an_earlier_release_is_still_found(older: str, written: dict[str, Any]) -> None:
    """The first release's keys are among today's, in whatever form the same is asked for; a null alone cannot be told
    from the request without it."""
    same = [written] + [form for pair in SAME for form in pair if written in pair and form]
    for form in same:
        keys = generation_keys("account-1", INGREDIENT, {**REQUEST, **form}, SHEET)
        assert older in keys
        assert keys[0] == key(**form)


def test_what_is_asked_for_in_one_form_alone_has_one_key() -> None:
    """Most requests are looked up by one key."""
    size = {"resolution": {"width": 448, "height": 256}}
    assert len(generation_keys("account-1", INGREDIENT, {**REQUEST, **size}, SHEET)) == 1


def test_auto_of_a_reference_video_is_no_size() -> None:
    """What it means depends on the video: it stays apart from every size."""
    media = {"video_url": "a" * 64}
    request = {"prompt": "x", "video_url": "v", "seed": 7}
    keys = {
        generation_key("a", ReferenceVideoRequest.ENDPOINT, {**request, "resolution": each}, media)
        for each in ("auto", "square", {"width": 512, "height": 512}, {"width": 896, "height": 512})
    }
    assert len(keys) == 3


def test_a_media_input_among_the_extras_counts_by_content() -> None:
    """A signed address in extra_arguments is no identity either."""
    signed = [{"style_image_url": f"https://cdn/s.png?sig={each}"} for each in (1, 2)]
    media = SHEET | {"style_image_url": "c" * 64}
    assert key(media=media, **signed[0]) == key(media=media, **signed[1]) != key()
    with pytest.raises(KeyNotComputable, match="style_image_url has not been hashed"):
        key(**signed[0])


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
