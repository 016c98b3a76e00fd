"""What people do about an account that a bill run could not bill, by the code of the reason."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

_READ = _("Read the meter or type its reading in; or start a run that estimates what is missing")
_LOOK = _("Look at the readings of the meter")
_AGREEMENT = _("Complete the agreement")
_TARIFF = _("Publish a version of the tariff that fits")
_SYSTEM = _("Tell whoever looks after the system, with the details; the log of the worker says more")

RUN_ADVICE: Final[Mapping[str, str]] = {
    "missing-reading": _READ,
    "missing-register-reading": _("Read all registers of the meter on that day"),
    "estimated-too-often": _("Read the meter: it is estimated no more"),
    "open-exceptions": _("Decide on the findings of the meter; or start a run that says what comes of them"),
    "incomplete-usage": _LOOK,
    "register-sum": _LOOK,
    "register-unknown": _LOOK,
    "usage-not-settled": _("Try again in a few minutes"),
    "not-over": _("Wait until the period is over"),
    "missing-area": _("File the floor area of the unit"),
    "missing-capacity": _AGREEMENT,
    "missing-meter": _AGREEMENT,
    "missing-rent": _AGREEMENT,
    "registers-not-mapped": _AGREEMENT,
    "missing-tariff-version": _TARIFF,
    "other-currency": _TARIFF,
    "left-out": _("Nothing: another run bills it"),
    "not-judged": _SYSTEM,
    "refused": _SYSTEM,
    "fault": _SYSTEM,
}
