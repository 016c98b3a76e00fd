"""Signatures against the published example, delays between tries, and which addresses are public."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.webhooks import signing
from cloud.webhooks.addresses import check_url, is_public


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks, also in its libraries' tests.
    signed = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_both_secrets_sign_while_both_are_in_force() -> None:
    both = signing.headers("evt_1", 5, b"{}", [signing.new_secret(), signing.new_secret()])["webhook-signature"]
    assert [one[:3] for one in both.split(" ")] == ["v1,", "v1,"]
    assert len(set(both.split(" "))) == 2


def test_tries_are_spread_over_about_three_days() -> None:
    delays = [signing.delay_s(attempts, 500) for attempts in range(1, signing.BACK_OFF.tries)]
    assert all(delay is not None for delay in delays)
    assert 2.5 * 86_400 < sum(delay or 0 for delay in delays) < 3.5 * 86_400
    assert signing.delay_s(signing.BACK_OFF.tries, 500) is None


@given(st.integers(1, signing.BACK_OFF.tries - 1), st.integers(0, 999))
def test_a_delay_is_spread_by_a_fifth(attempts: int, lot: int) -> None:
    low, high, delay = signing.delay_s(attempts, 0), signing.delay_s(attempts, 999), signing.delay_s(attempts, lot)
    assert low is not None
    assert high is not None
    assert delay is not None
    assert low <= delay <= high
    assert (low * 6, high * 4) == (high * 4, low * 6)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "nonsense",
    ],
)  # fmt: skip
def test_an_address_of_a_network_of_ones_own_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https://", "https://user:word@example.com/",
        "https://exa mple.com",
        "https://example.com/#part", "https://example.com:99999/", "https://127.0.0.1/", "https://[::1]/",
        "https://169.254.169.254/latest", "https://example.com/" + "a" * 2000, "https://ex\n.com/", "https://[bad/",
    ],
)  # fmt: skip
def test_an_address_that_nothing_may_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, private=False)


def test_an_address_of_the_internet_is_taken() -> None:
    check_url("https://example.com:8443/hooks?a=1", private=False)
    check_url("http://127.0.0.1:8000/hooks", private=True)
