"""Arguments of actions: what is known is taken, everything else refused."""

from uuid import uuid4

import pytest

from gateway.contract.messages import Action
from gateway.contract.orders import CUTS_SUPPLY, HARMLESS, arguments_flaw


@pytest.mark.parametrize("action", Action)
def test_every_action_goes_without_arguments_and_knows_no_strange_one(action: Action) -> None:
    needs = {
        Action.SEND_PICTURE: "link",
        Action.LIST_PLATE: "plate",
        Action.UNLIST_PLATE: "plate",
        Action.SHOW_DUE: "amount",
    }
    first = needs.get(action)
    assert arguments_flaw(action, {}) == (f"{action} needs the argument {first}" if first else None)
    assert arguments_flaw(action, {"strange": "1"}) == f"{action} knows no argument strange"


def test_an_opening_may_name_its_passage() -> None:
    assert arguments_flaw(Action.OPEN_BARRIER, {"passage": str(uuid4())}) is None
    for value in ("", "p", f"{uuid4()}\n"):
        assert arguments_flaw(Action.OPEN_BARRIER, {"passage": value}) is not None


@pytest.mark.parametrize(
    ("link", "good"),
    [
        ("https://cloud.example/pictures/1?expires=5&signature=abc", True),
        ("https://cloud.example:8443/p", True),
        ("http://127.0.0.1:8000/p", True),
        ("http://cloud.example/p", False),
        ("http://127.0.0.1.evil.example/p", False),
        ("https://user:secret@cloud.example/p", False),
        ("file:///etc/passwd", False),
        ("https://cloud.example/a b", False),
        ("https://cloud.example/p\n", False),
    ],
)
def test_a_picture_goes_by_tls_to_a_link_for_its_passage(link: str, good: bool) -> None:
    arguments = {"passage": str(uuid4()), "link": link}
    assert (arguments_flaw(Action.SEND_PICTURE, arguments) is None) is good
    assert arguments_flaw(Action.SEND_PICTURE, {"link": link}) is not None


def test_a_list_takes_a_plate_and_local_times() -> None:
    good = {"plate": "京A12345", "since": "2026-11-26 18:00:00", "until": "2026-11-27 18:00:00"}
    assert arguments_flaw(Action.LIST_PLATE, good) is None
    for wrong in (
        {"plate": ""},
        {"plate": "京A 1"},
        {"plate": "A" * 17},
        {"until": "tomorrow"},
        {"since": "2026-11-26"},
    ):
        assert arguments_flaw(Action.LIST_PLATE, good | wrong) is not None
    assert arguments_flaw(Action.UNLIST_PLATE, {"plate": "京A12345"}) is None


def test_what_is_due_is_an_exact_amount_of_a_currency_for_a_passage() -> None:
    good = {"passage": str(uuid4()), "amount": "8.00", "currency": "CNY"}
    more = {"plate": "京A12345", "minutes": "300", "since": "2026-11-26 18:00:00", "text": "请缴费 ¥8.00"}
    for right in (good, good | more, good | {"ticket": "A3C4D6E7"}, good | {"amount": "500", "currency": "JPY"}):
        assert arguments_flaw(Action.SHOW_DUE, right) is None
    for wrong in (
        {"amount": "8,00"}, {"amount": "-8.00"}, {"amount": "8.00 "}, {"amount": "1e3"}, {"currency": "yuan"},
        {"minutes": "5.5"}, {"plate": "京A 1"}, {"ticket": "a-b"}, {"text": "two\nlines"}, {"text": "x" * 201},
    ):  # fmt: skip
        assert arguments_flaw(Action.SHOW_DUE, good | wrong) is not None
    for name in good:
        assert arguments_flaw(Action.SHOW_DUE, {key: good[key] for key in good if key != name}) is not None


def test_what_cuts_a_supply_is_not_harmless() -> None:
    assert not CUTS_SUPPLY & HARMLESS
