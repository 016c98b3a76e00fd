"""Words of parking: what was odd about passages, decisions of lanes, policies of lots."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

INCIDENTS: Final[Mapping[str, str]] = {
    "repeated": _("Seen again"),
    "other-lane": _("Seen by another lane too"),
    "re-entry": _("Came back"),
    "second-entry": _("Second entry while inside"),
    "exit-without-entry": _("Exit without entry"),
    "misread": _("Plate misread"),
    "tailgating": _("Tailgating"),
    "outer-entry-unseen": _("Inner entry without outer entry"),
    "inner-exit-unseen": _("Left while inside an inner car park"),
}

INCIDENT_STATES: Final[Mapping[str, str]] = {
    "open": _("Nobody has looked yet"),
    "seen": _("Seen"),
    "resolved": _("Resolved"),
}

UNSEEN_ENTRY: Final[Mapping[str, str]] = {
    "operator": _("A person decides"),
    "open-free": _("Leaves for nothing"),
    "last-known": _("Its last stay goes on"),
    "fixed-charge": _("Fixed charge"),
}

INNER_TIME: Final[Mapping[str, str]] = {
    "paused": _("Charged by the inner car park only"),
    "included": _("Charged here only"),
}

MISREAD: Final[Mapping[str, str]] = {
    "unique": _("Taken for the only vehicle that fits"),
    "never": _("A person decides"),
}

DECISIONS: Final[Mapping[str, str]] = {
    "temporary": _("Temporary vehicle"),
    "permit": _("Permit"),
    "permit-grace": _("Permit within its grace"),
    "permit-expired": _("Permit has expired"),
    "whitelist": _("On the white list"),
    "blacklist": _("On the black list"),
    "reservation": _("Reserved"),
    "already-inside": _("Is inside already"),
    "no-plate": _("No plate was read"),
    "no-temporary": _("Only permits may enter"),
    "nothing-known": _("The lane knew of no permits"),
    "not-understood": _("The lane's software is too old for what it was told of this vehicle"),
    "software-error": _("The lane's software failed on this vehicle"),
    "lot-full": _("The car park was full"),
    "free": _("Within the free minutes"),
    "paid": _("Paid"),
    "await-cloud": _("The cloud decides"),
    "cloud-silent": _("The cloud did not answer"),
    "command": _("Opened by order"),
    "uncertain": _("Told to open, but the barrier did not answer"),
    "unrecognised": _("Only the sensor saw it"),
    "device-clock": _("The device's clock was wrong"),
}
