"""Links for pictures: what was signed is taken until its time is over, and nothing else is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import Forbidden
from cloud.kit.security import Keys
from cloud.parking.pictures.links import Claim, Links
from gateway.contract.messages import Action
from gateway.contract.orders import arguments_flaw

_KEYS = Keys.generate()
_LINKS = Links(_KEYS, "https://park.example")
_NUMBERS = st.integers(1, 2**63 - 1)
_CLAIMS = st.builds(
    Claim,
    project=_NUMBERS,
    passage=st.uuids(),
    request=_NUMBERS,
    expires=st.integers(0, 4_000_000_000),
    most=st.integers(1, 3 << 20),
)
_CHANGES = st.fixed_dictionaries(
    {},
    optional={"project": _NUMBERS, "passage": st.uuids(), "request": _NUMBERS, "expires": _NUMBERS, "most": _NUMBERS},
)


def _signature(link: str) -> str:
    return parse_qs(urlsplit(link).query)["signature"][0]


@given(_CLAIMS, _CHANGES, st.integers(-100, 100))
def test_a_link_proves_what_it_says_while_it_is_good(claim: Claim, changes: dict[str, Any], after_s: int) -> None:
    link = _LINKS.link(claim)
    assert arguments_flaw(Action.SEND_PICTURE, {"passage": str(claim.passage), "link": link}) is None
    now = datetime.fromtimestamp(claim.expires, UTC) + timedelta(seconds=after_s)
    said = replace(claim, **changes)
    if said == claim and after_s < 0:
        _LINKS.check(said, _signature(link), now)
        return
    with pytest.raises(Forbidden):
        _LINKS.check(said, _signature(link), now)


@given(_CLAIMS)
def test_other_keys_make_other_links(claim: Claim) -> None:
    others = Links(Keys.generate(), "https://park.example")
    with pytest.raises(Forbidden):
        _LINKS.check(claim, _signature(others.link(claim)), datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("https://park.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080", True),
        ("http://park.example", False),
        ("http://localhost.evil.example", False),
        (None, False),
    ],
)
def test_gateways_hand_pictures_in_over_tls_only(url: str | None, usable: bool) -> None:
    assert Links(_KEYS, url).usable is usable
