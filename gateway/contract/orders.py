"""What both sides know of actions: their arguments, and what is at stake. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.contract import limits
from gateway.contract.messages import Action

CUTS_SUPPLY: Final = frozenset({Action.CLOSE_VALVE, Action.SWITCH_OFF})
"""Somebody sits in the dark or without water after it."""

HARMLESS: Final = frozenset({Action.READ_NOW, Action.SEND_PICTURE})
"""Changes nothing, whenever it is carried out: needs no clock that could tell whether it is still wanted."""

OPTIONAL: Final = frozenset({Action.SHOW_DUE})
"""Given only where a gateway says that the device can: nobody misses it elsewhere, and nobody is alarmed."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLATE: Final = re.compile(rf"\w{{1,{limits.MAX_PLATE_CHARS}}}")
_LOCAL_TIME: Final = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]")
"""Of the property, as a camera's clock shows it."""
_TICKET: Final = re.compile(r"[A-Z0-9]{1,16}")
_AMOUNT: Final = re.compile(r"[0-9]{1,14}(\.[0-9]{1,4})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_MINUTES: Final = re.compile(r"[0-9]{1,8}")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
# Only the machine itself may be reached without TLS.
_LINK: Final = re.compile(r"(https://[A-Za-z0-9.-]+|http://(127\.0\.0\.1|localhost))(:[0-9]{1,5})?/[!-~]*")
_ARGUMENTS: Final[Mapping[Action, Mapping[str, re.Pattern[str]]]] = {
    Action.OPEN_BARRIER: {"passage": _UUID},
    Action.SEND_PICTURE: {"passage": _UUID, "link": _LINK},
    Action.LIST_PLATE: {"plate": _PLATE, "since": _LOCAL_TIME, "until": _LOCAL_TIME},
    Action.UNLIST_PLATE: {"plate": _PLATE},
    Action.SHOW_DUE: {
        "passage": _UUID,
        "plate": _PLATE,
        "ticket": _TICKET,
        "amount": _AMOUNT,
        "currency": _CURRENCY,
        "minutes": _MINUTES,
        "since": _LOCAL_TIME,
        "text": _LINE,
    },
}
_NEEDED: Final[Mapping[Action, tuple[str, ...]]] = {
    Action.SEND_PICTURE: ("link", "passage"),
    Action.LIST_PLATE: ("plate", "since", "until"),
    Action.UNLIST_PLATE: ("plate",),
    Action.SHOW_DUE: ("amount", "currency", "passage"),
}


def arguments_flaw(action: Action, arguments: Mapping[str, str]) -> str | None:
    """What is wrong with the arguments of an action, or None.

    One that is not known is wrong: whoever ignores it could do something else than was asked for.
    """
    known = _ARGUMENTS.get(action, {})
    for name, value in sorted(arguments.items()):
        if name not in known:
            return f"{action} knows no argument {name}"
        if not known[name].fullmatch(value):
            return f"{action}: the argument {name} is not what is expected"
    for name in _NEEDED.get(action, ()):
        if name not in arguments:
            return f"{action} needs the argument {name}"
    return None
