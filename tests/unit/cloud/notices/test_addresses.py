"""Which addresses can be written to: whatever passes is one word without anything that a server could misread."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.notices.addresses import checked, masked, without


@pytest.mark.parametrize(
    ("given_one", "wire"),
    [
        ("li@example.com", "li@example.com"),
        (" Li.Wang+bills@Example.COM ", "Li.Wang+bills@example.com"),
        ("li@例子.公司", "li@xn--fsqu00a.xn--55qx5d"),
        ("o'neil@sub.example.com.", "o'neil@sub.example.com"),
    ],
)
def test_takes_addresses(given_one: str, wire: str) -> None:
    assert checked(given_one) == wire


@pytest.mark.parametrize(
    "wrong",
    [
        "", "li", "@example.com", "li@", "li@localhost", "li@example..com", ".li@example.com", "l i@example.com",
        "li@exam ple.com", "a@b@example.com", "li@example.com\r\nBcc: x@example.com", "li@example.com,x@example.com",
        "<li@example.com>", "李@example.com", "li@-example.com", "li@127.0.0.1", "l" * 65 + "@example.com",
        "li@" + ".".join(["a" * 60] * 5) + ".com", '"li\\"@example.com',
    ],
)  # fmt: skip
def test_refuses_what_is_none(wrong: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked(wrong)
    assert caught.value.code == "bad-address"


_PIECES = st.sampled_from([*string.printable, "@", ".", "例", "\u2028", "\0", "example.com"])


@given(st.lists(_PIECES, max_size=12).map("".join))
def test_whatever_passes_is_one_ascii_word_with_one_at_and_stays_what_it_is(text: str) -> None:
    try:
        wire = checked(text)
    except InvalidInput:
        return
    assert wire.isascii()
    assert not set(wire) & set(string.whitespace + '<>,;:"()[]\\\0')
    assert wire.count("@") == 1
    assert checked(wire) == wire


def test_an_address_is_kept_masked() -> None:
    assert masked("li.wang@example.com") == "l***@example.com"


def test_what_a_server_repeats_is_masked() -> None:
    told = "550 <LI.Wang@example.com>: li.wang@example.com is no mailbox of b@example.com"
    assert without("li.wang@example.com", told) == (
        "550 <l***@example.com>: l***@example.com is no mailbox of b@example.com"
    )
