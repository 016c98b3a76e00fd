"""What can be wrong in the form of a fee rule, and what its fields are called, in a clerk's words."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

WORDS: Final[Mapping[str, str]] = {
    "amount": _("An amount such as 5.00, at most 999999.999."),
    "decimals": _("Amounts in %(currency)s have at most %(digits)s decimals."),
    "one-way": _("Say what time costs: one price, steps, or prices by the time of day."),
    "window-price": _("Give a unit and its price, or prices by how long the vehicle stays."),
    "window-gap": _("The times of day must cover the day once, but %(clock)s is in none of them."),
    "window-overlap": _("The times of day must cover the day once, but %(clock)s is in %(count)s of them."),
    "window-gap-days": _("%(clock)s is in no time of day: %(day)s that follow %(before)s."),
    "window-overlap-days": _(
        "%(clock)s is in %(count)s times of day: %(day)s that follow %(before)s. Let times of day end at 24:00 where "
        "kinds of days differ."
    ),
    "steps-open": _("Every step but the last says up to when it holds; the last has no end."),
    "steps-order": _("Steps must follow each other, but %(next)s minutes come after %(before)s."),
    "step-unreached": _(
        "The first period lasts %(first)s minutes: the step up to %(up_to)s minutes is over before it begins."
    ),
    "escalating-time": _("Times must rise from row to row, but %(next)s minutes come after %(before)s."),
    "escalating-amount": _("A longer time may not have a lower maximum, but %(next)s comes after %(before)s."),
    "charging-nothing": _("Give free minutes for each kWh or for each minute of charging, or leave all three empty."),
    "quota-nothing": _("Free time that the stays of a day share must be longer than 0 minutes."),
    "class-twice": _("This class has a schedule already."),
    # What pydantic finds.
    "missing": _("This must be filled in."),
    "string_too_short": _("This must be filled in."),
    "string_too_long": _("At most %(max_length)s characters."),
    "int_type": _("A whole number, such as 30."),
    "greater_than_equal": _("At least %(ge)s."),
    "less_than_equal": _("At most %(le)s."),
    "too_short": _("Mark at least one kind of days."),
    "literal_error": _("One of the choices."),
    "clock": _("A time of day such as 08:00, at most 24:00."),
    "class": _("A code of small letters, digits and hyphens, such as new-energy."),
    "currency": _("The three capital letters of a currency, such as CNY."),
}
"""By code; values in %(…)s are filled in after translation."""

DAYS: Final[Mapping[str, str]] = {
    "work": _("Working days"),
    "rest": _("Days of rest"),
    "holiday": _("Public holidays"),
    "critical": _("Days of critical load"),
}

CLASSES: Final[Mapping[str, str]] = {
    "small": _("Small vehicle"),
    "large": _("Large vehicle"),
    "new-energy": _("New-energy vehicle"),
}

CHOICES: Final[Mapping[str, str]] = {
    "stay": _("Each stay has it"),
    "day": _("The stays of a plate that begin on one day share it"),
    "entry": _("From the entry"),
    "end-of-free": _("From the end of the free time"),
}

FIELDS: Final[Mapping[str, str]] = {
    "name": _("Name"),
    "source": _("Where the numbers come from"),
    "currency": _("Currency"),
    "leave_within_minutes": _("Time to leave after paying"),
    "schedule": "",
    "classes": _("Class of vehicles"),
    "free_minutes": _("Free time"),
    "free_minutes_per": _("Who has the free time"),
    "billing_from": _("Who stays longer pays"),
    "first": _("First period"),
    "unit": _("One price"),
    "steps": _("By how long the vehicle stays"),
    "windows": _("By the time of day"),
    "caps": _("Maximum"),
    "charging": _("Free time for charging"),
    "minutes": _("Each begun"),
    "price": _("costs"),
    "amount": _("Amount"),
    "up_to_minutes": _("Up to"),
    "start": _("From"),
    "end": _("Until"),
    "days": _("Kinds of days"),
    "cap": _("At most, each time"),
    "per_24_hours": _("In 24 hours from the entry"),
    "per_calendar_day": _("On a calendar day"),
    "escalating": _("In all since the entry"),
    "within_minutes": _("Within"),
    "free_minutes_per_kwh": _("For each kWh"),
    "free_minutes_per_minute": _("For each minute of charging"),
    "at_most_minutes": _("At most"),
}
"""What the keys of a rule are called."""
