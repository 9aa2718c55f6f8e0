import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ltx.fal import FalClient, FalHostRefused, FalHosts, FalRequestInvalid
from prefect_ltx.fal.retry import RetryRule
from prefect_ltx.fal.transport import Transport, check_key

FAL = FalHosts.default()
LOCAL = FalHosts.from_base_url("http://127.0.0.1:8123/")

TRICKS = [
    "http://queue.fal.run/x",
    "https://queue.fal.run:444/x",
    "https://queue.fal.run.evil.example/x",
    "https://evil.example/queue.fal.run",
    "https://evil.example#@queue.fal.run/",
    "https://evil.example?https://queue.fal.run/",
    "https://queue.fal.run@evil.example/",
    "https://user@queue.fal.run/",
    "https://queue.fal.run\\@evil.example/",
    "https://evil.example\\.queue.fal.run/",
    "https://queue.fal.run./x",
    "https://sub.queue.fal.run/x",
    "https://me.fal.run.evil.example/x",
    "https://xfal.run/x",
    "https://someone.fal.run/x",
    "https://v3.fal.media/files/x",
    "https://queue.fal.run\n.evil.example/",
    " https://queue.fal.run/x",
    "https://queue.fal.run /x",
    "//queue.fal.run/x",
    "ftp://queue.fal.run/x",
    "queue.fal.run/x",
    "https:queue.fal.run/x",
    "https:///queue.fal.run/x",
    "javascript:alert(1)",
    "data:text/plain,queue.fal.run",
    "https://queue.fal.run:99999/x",
    "https://[::1/x",
    "https://ｑueue.fal.run.evil.example/",
    "",
]


@pytest.mark.parametrize("url", TRICKS)
def test_the_key_goes_to_no_host_that_only_looks_like_fals(url: str) -> None:
    """Only the exact origins of fal get the key, whatever a reply's URL is dressed up as."""
    assert not FAL.may_receive_key(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://queue.fal.run/fal-ai/ltx-2.3-quality/requests/1?x=1",
        "https://QUEUE.fal.run:443/x",
        "https://fal.run/x",
        "https://rest.fal.ai/storage/upload/initiate",
        "https://api.fal.ai/v1/models",
    ],
)
def test_the_key_goes_to_fals_own_hosts(url: str) -> None:
    """Queue, run, REST and Platform API get the key."""
    assert FAL.may_receive_key(url)


hosts = st.from_regex(r"[a-z0-9-]{1,12}(\.[a-z0-9-]{1,12}){0,3}", fullmatch=True)


@given(
    st.sampled_from(["http", "https", "HTTPS", "ws", ""]),
    st.sampled_from(["", "u@", "u:p@", "queue.fal.run@", "queue.fal.run\\@"]),
    hosts | st.sampled_from(["queue.fal.run", "fal.run", "rest.fal.ai", "api.fal.ai"]),
    st.sampled_from(["", ":443", ":80", ":8443", ":"]),
    st.text(max_size=12),
)
def test_whatever_may_receive_the_key_is_one_of_four_names_over_tls(
    scheme: str, user: str, host: str, port: str, rest: str
) -> None:
    """Of any URL at all, only https, no user info, port 443 and an exact name get the key."""
    if FAL.may_receive_key(f"{scheme}://{user}{host}{port}/{rest}"):
        assert scheme.lower() == "https"
        assert user == ""
        assert host in ("queue.fal.run", "fal.run", "rest.fal.ai", "api.fal.ai")
        assert port in ("", ":443", ":")


@given(st.text(max_size=60))
def test_any_text_can_be_asked_about(text: str) -> None:
    """The guard answers for every text, and never raises."""
    assert FAL.may_receive_key(text) is False or "fal" in text.lower()
    assert LOCAL.may_receive_token(text) in (True, False)


def test_a_base_url_is_one_origin() -> None:
    """With one base URL everything goes there, `run` below /run, and nothing goes to the real fal."""
    assert (LOCAL.queue, LOCAL.rest, LOCAL.cdn, LOCAL.api) == ("http://127.0.0.1:8123",) * 4
    assert LOCAL.run == "http://127.0.0.1:8123/run"
    assert LOCAL.may_receive_key("http://127.0.0.1:8123/anything")
    for other in ("http://127.0.0.1:8124/", "https://127.0.0.1:8123/", "https://queue.fal.run/"):
        assert not LOCAL.may_receive_key(other)
        assert not LOCAL.may_receive_token(other)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://v3.fal.media/files/x", True),
        ("https://v3b.fal.media/files/x", True),
        ("https://fal.media/files/x", True),
        ("http://v3.fal.media/files/x", False),
        ("https://v3.fal.media:8443/files/x", False),
        ("https://fal.media.evil.example/", False),
        ("https://xfal.media/", False),
        ("https://queue.fal.run/", False),
    ],
)
def test_the_upload_token_stays_with_fals_cdn(url: str, allowed: bool) -> None:
    """The CDN's sister hosts get the upload token over TLS, nobody else does."""
    assert FAL.may_receive_token(url) is allowed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fal.run",
        "ftp://fal.run",
        "https://",
        "https://u:s3cr3t@fal.run",
        "https://x/?q=s3cr3t",
        "https://x/#f",
    ],
)
def test_a_base_url_is_checked(url: str) -> None:
    """What cannot be a base URL is refused, and a password in it is not repeated."""
    with pytest.raises(FalRequestInvalid) as caught:
        FalHosts.from_base_url(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:1", "127.0.0.1"),
        ("http://127.0.0.1:2", "127.0.0.1"),
        ("http://localhost:3", "localhost"),
        ("http://[::1]:4", "::1"),
        ("http://fal:8000", "fal:8000"),
        ("https://fal.example", "fal.example:443"),
        ("http://10.0.0.7:9", "10.0.0.7:9"),
    ],
)
def test_the_account_host_forgets_a_loopback_port(url: str, host: str) -> None:
    """The embedded server may restart on another port and is still the same account; other hosts keep theirs."""
    assert FalHosts.from_base_url(url).account_host == host


def test_the_real_fal_is_one_account_host() -> None:
    """The hosts of the real fal have one name in a fingerprint."""
    assert (FAL.account_host, FAL.is_fal, LOCAL.is_fal) == ("fal.ai", True, False)


def test_the_account_is_the_key_id_at_a_host() -> None:
    """A new secret of the same key is the same account; another key id, host or no key is another."""
    first = FalClient("id-1:secret-a")
    assert len(first.account) == 16
    assert first.account == FalClient("id-1:secret-b").account
    others = [
        FalClient("id-2:secret-a"),
        FalClient(),
        FalClient("id-1:secret-a", base_url="http://127.0.0.1:1"),
    ]
    assert len({first.account, *(one.account for one in others)}) == 4


@pytest.mark.parametrize(
    "key", ["", " ", "id:sec ret", "id:secret\n", "\tid:secret", "id:sécret", "id:\x00x"]
)
def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str) -> None:
    """A key with a space or a line break is a clear error before any request, and is not repeated in it."""
    with pytest.raises(FalRequestInvalid, match="FAL_KEY") as caught:
        FalClient(key)
    assert "cret" not in str(caught.value).replace("secret>", "")


def test_no_repr_shows_the_key(key: str) -> None:
    """Neither the client nor its parts show the key when printed."""
    client = FalClient(key)
    secret = key.partition(":")[2]
    for part in (client, *vars(client).values(), *vars(client._http).values()):
        assert secret not in repr(part)
        assert secret not in str(part)


def test_hosts_or_base_url_not_both() -> None:
    """Two different answers to "which fal" are an error."""
    with pytest.raises(FalRequestInvalid, match="not both"):
        FalClient(hosts=FAL, base_url="http://127.0.0.1:1")


@pytest.mark.parametrize("url", TRICKS)
def test_the_transport_itself_refuses_to_sign_for_a_stranger(key: str, url: str) -> None:
    """Even if a stranger's URL came through to the last step, no header with the key is made for it."""
    transport = Transport(check_key(key), FAL, timeout=1, rule=RetryRule())
    with pytest.raises(FalHostRefused) as caught:
        transport.key_header(url)
    assert key not in str(caught.value)
