"""Words of the guard's desk: shifts, reasons for opening by hand, how far a vehicle got."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

SHIFT_STATES: Final[Mapping[str, str]] = {
    "open": _("Under way"),
    "ended": _("To be confirmed"),
    "confirmed": _("Confirmed"),
}

OPENING_REASONS: Final[Mapping[str, str]] = {
    "emergency": _("Ambulance, fire brigade, police"),
    "barrier-fault": _("Barrier or camera out of order"),
    "plate-unread": _("Plate not read or misread"),
    "resident": _("Resident or staff, known in person"),
    "paid-elsewhere": _("Paid another way"),
    "delivery": _("Delivery or removal"),
    "turning-round": _("Came in by mistake, turns round"),
    "other": _("Another reason"),
}

OUTCOMES: Final[Mapping[str, str]] = {
    "arrived": _("waiting"),
    "passed": _("passed"),
    "turned-back": _("turned back"),
    "refused": _("refused"),
}
