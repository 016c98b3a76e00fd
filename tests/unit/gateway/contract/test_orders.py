"""Arguments of actions: what is known is taken, everything else refused."""

from uuid import uuid4

import pytest

from gateway.contract.messages import Action
from gateway.contract.orders import CUTS_SUPPLY, HARMLESS, arguments_flaw


@pytest.mark.parametrize("action", Action)
def test_every_action_goes_without_arguments_and_knows_no_strange_one(action: Action) -> None:
    assert arguments_flaw(action, {}) is None
    assert arguments_flaw(action, {"strange": "1"}) == f"{action} knows no argument strange"


def test_an_opening_may_name_its_passage() -> None:
    assert arguments_flaw(Action.OPEN_BARRIER, {"passage": str(uuid4())}) is None
    for value in ("", "p", f"{uuid4()}\n"):
        assert arguments_flaw(Action.OPEN_BARRIER, {"passage": value}) is not None


def test_what_cuts_a_supply_is_not_harmless() -> None:
    assert not CUTS_SUPPLY & HARMLESS
