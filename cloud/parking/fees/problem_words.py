"""The sentences of what can be wrong with a fee rule, by code; values in %(…)s are filled in after translation."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

WORDS: Final[Mapping[str, str]] = {
    "amount": _('expected a quoted amount such as "5.00", at most 999999.999, found %(found)s'),
    "decimals": _("%(field)s is %(amount)s: amounts in %(currency)s have at most %(digits)s decimals"),
    "one-way": _("expected either unit or steps or windows"),
    "window-price": _("expected either minutes and price, or steps"),
    "window-gap": _("windows must cover the day once, but %(clock)s is in no window"),
    "window-overlap": _("windows must cover the day once, but %(clock)s is in %(count)s windows"),
    "window-gap-days": _(
        "windows must cover the day once, but %(clock)s is in no window on a day of kind %(day)s after one of "
        "kind %(before)s"
    ),
    "window-overlap-days": _(
        "windows must cover the day once, but %(clock)s is in %(count)s windows on a day of kind %(day)s after one of "
        "kind %(before)s: let windows end at 24:00 where kinds of days differ"
    ),
    "steps-open": _("every step but the last needs up_to_minutes, and the last has none"),
    "steps-order": _("up_to_minutes must rise from step to step, but %(next)s follows %(before)s"),
    "step-unreached": _("the first block ends after %(first)s minutes: the step up to %(up_to)s is never reached"),
    "escalating-time": _("within_minutes must rise from cap to cap, but %(next)s follows %(before)s"),
    "escalating-amount": _("a longer time may not have a lower cap, but %(next)s follows %(before)s"),
    "charging-nothing": _("expected free_minutes_per_kwh or free_minutes_per_minute above 0"),
    "quota-nothing": _("free_minutes_per is day, so free_minutes must be above 0"),
    # What may be meant, but seldom is.
    "cap-below-charge": _("the cap %(cap)s is below the charge %(charge)s: nobody ever pays that charge in full"),
    "cap-zero": _("a cap of 0 makes every stay free"),
    "cap-unreached": _("the cap %(cap)s is never reached: %(most)s is the most that can be charged in that time"),
    "step-cut": _(
        "a step of %(length)s minutes is no whole number of units of %(unit)s minutes: its last unit costs all"
    ),
    "window-cut": _(
        "a window of %(length)s minutes is no whole number of units of %(unit)s minutes: its last unit costs all"
    ),
    "escalating-useless": _("the cap within %(within)s minutes is no lower than the one of 24 hours"),
}
