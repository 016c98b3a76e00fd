"""States and kinds of all other things, in the reader's language."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

IMPORT_STATES: Final[Mapping[str, str]] = {
    "queued": _("Waiting for its turn"),
    "running": _("Running"),
    "done": _("Done"),
    "failed": _("Failed"),
}

IMPORT_OUTCOMES: Final[Mapping[str, str]] = {
    "new": _("Not looked at yet"),
    "waiting": _("Understood, not stored yet"),
    "stored": _("Stored"),
    "repeated": _("There already"),
    "other-value": _("Another value is there"),
    "needs-confirmation": _("To be confirmed"),
    "refused": _("Refused"),
}

IMPORT_KINDS: Final[Mapping[str, str]] = {
    "register": _("Register readings"),
    "interval": _("Quantities of intervals"),
}

COMMAND_STATES: Final[Mapping[str, str]] = {
    "queued": _("Waiting to be sent"),
    "delivered": _("Sent to the gateway"),
    "executing": _("Being carried out"),
    "done": _("Carried out"),
    "failed": _("Failed"),
    "expired": _("Expired"),
    "uncertain": _("Outcome unknown"),
}

CONFIGURATION_STATES: Final[Mapping[str, str]] = {
    "queued": _("Waiting to be sent"),
    "superseded": _("Replaced before it was sent"),
    "received": _("Received by the gateway"),
    "applied": _("On trial"),
    "refused": _("Refused"),
    "confirmed": _("Confirmed"),
    "rolled-back": _("Taken back"),
}

COMMANDS: Final[Mapping[str, str]] = {
    "open-barrier": _("Open the barrier"),
    "close-barrier": _("Close the barrier"),
    "read-now": _("Read now"),
    "open-valve": _("Open the valve"),
    "close-valve": _("Close the valve"),
    "switch-on": _("Switch on"),
    "switch-off": _("Switch off"),
    "set-clock": _("Set the clock"),
    "send-picture": _("Send the picture of a vehicle"),
    "list-plate": _("Put a plate on the camera's list"),
    "unlist-plate": _("Take a plate off the camera's list"),
    "show-due": _("Show the driver what is due"),
}

INBOX_STATES: Final[Mapping[str, str]] = {
    "waiting": _("Waiting"),
    "replayed": _("Placed after all"),
    "discarded": _("Discarded"),
    "corrected": _("Being placed with another time"),
}

EXCEPTION_STATES: Final[Mapping[str, str]] = {
    "open": _("Open"),
    "accepted": _("Accepted"),
    "corrected": _("Corrected"),
    "dismissed": _("Dismissed"),
}

SUBMISSION_STATES: Final[Mapping[str, str]] = {
    "waiting": _("Waiting to be looked at"),
    "accepted": _("Accepted"),
    "rejected": _("Rejected"),
}

RESERVATION_STATES: Final[Mapping[str, str]] = {
    "booked": _("Booked"),
    "arrived": _("Arrived"),
    "done": _("Has left"),
    "no-show": _("Did not come"),
    "cancelled": _("Cancelled"),
}

EDITS: Final[Mapping[str, str]] = {
    "set": _("Another value instead"),
    "use": _("Believed all the same"),
    "ignore": _("Left out"),
    "original": _("As it was read"),
}

METER_CLASSES: Final[Mapping[str, str]] = {
    "electricity-residential": _("Electricity, homes"),
    "electricity-commercial": _("Electricity, shops and offices"),
    "electricity-industrial": _("Electricity, works"),
    "electricity-public": _("Electricity, common parts"),
    "water-residential": _("Water, homes"),
    "water-commercial": _("Water, shops and offices"),
    "water-network": _("Water, mains"),
    "heat": _("Heat"),
}

QUALITY: Final[Mapping[str, str]] = {
    "1": _("gateway's clock not set"),
    "2": _("old answer repeated"),
    "4": _("out of range"),
    "8": _("error of the device"),
    "16": _("from the device's memory"),
    "32": _("by hand"),
}
"""Bits of gateway.contract.messages.Quality."""

WEBHOOK_KINDS: Final[Mapping[str, str]] = {
    "reading.stored": _("Readings were stored"),
    "usage.changed": _("Usage changed"),
    "exception.opened": _("A finding was opened"),
    "exception.decided": _("A finding was decided"),
    "webhook.test": _("Test"),
}
"""What webhooks are told."""

NOTICE_KINDS: Final[Mapping[str, str]] = {
    "bill": _("Bill"),
    "prepaid.low": _("Low balance"),
    "supply.warning": _("Supply about to be cut"),
    "supply.cut": _("Supply cut"),
    "supply.back": _("Supply on again"),
    "permit.ending": _("Parking card about to end"),
}
"""What people are told."""

PERMIT_KINDS: Final[Mapping[str, str]] = {
    "monthly-card": _("Monthly card"),
    "owner-space": _("Owner's space"),
    "staff": _("Staff"),
    "vip": _("VIP"),
    "visitor": _("Visitor"),
}

PERMIT_STATES: Final[Mapping[str, str]] = {
    "active": _("In effect"),
    "suspended": _("Suspended"),
    "ended": _("Ended"),
    "expired": _("Expired"),
    "future": _("Not begun yet"),
}

NOTICE_STATES: Final[Mapping[str, str]] = {
    "queued": _("waiting to be sent"),
    "sending": _("being sent"),
    "sent": _("sent"),
    "failed": _("tried again later"),
    "given_up": _("not delivered"),
    "suppressed": _("not sent"),
}

NOTICE_REASONS: Final[Mapping[str, str]] = {
    "no-address": _("No e-mail address is known"),
    "bad-address": _("The e-mail address is not one"),
    "declined": _("The person does not want it by e-mail"),
    "project-off": _("The project sends no e-mail"),
    "mail-off": _("Mail is not set up on this installation"),
    "refused": _("The mail server refused it"),
    "not-now": _("The mail server does not take it now"),
    "unreachable": _("The mail server cannot be used now"),
    "unknown": _("It is not known whether the mail server took it"),
    "not-written": _("What it tells of could not be written"),
    "too-old": _("It waited too long to be sent"),
}
"""Why a notice was not sent, or not yet."""

DELIVERY_STATES: Final[Mapping[str, str]] = {
    "waiting": _("waiting"),
    "delivered": _("delivered"),
    "dead": _("given up"),
}

WEBHOOK_STOPS: Final[Mapping[str, str]] = {
    "person": _("stopped"),
    "failing": _("stopped: nothing came through for days"),
    "gone": _("stopped: the receiver wants no more"),
}

METER_WARNINGS: Final[Mapping[str, str]] = {
    "ends-missing": _("Without both readings usage of this register does not run on over the change"),
    "above-maximum": _("Since the last reading the meter cannot have used that much"),
    "next-does-not-fit": _("The first reading after the change does not fit the initial reading"),
    "nothing-to-compare": _("There is no earlier reading to compare the final one with"),
    "has-sub-meters": _("Sub-meters are still below this meter"),
}

CASE_STATES: Final[Mapping[str, str]] = {
    "warned": _("Balance used up"),
    "notified": _("Notice given"),
    "due": _("May be switched off"),
    "ordered": _("Being switched off"),
    "off": _("Switched off"),
    "reconnecting": _("Being switched on"),
    "reconnected": _("Switched on again"),
    "cancelled": _("Ended"),
}

CASE_HOLDS: Final[Mapping[str, str]] = {
    "protected": _("The account is protected"),
    "disputed": _("A bill is in dispute"),
    "in-plan": _("Bills are paid by instalments"),
    "unverified": _("Usage is not known for sure: the meter is silent, usage is estimated, or findings are open"),
    "to-be-rated": _("What bills charged is to be rated again first: usage or persons became known otherwise"),
    "no-relay": _("No gateway says that this supply can be switched"),
    "quiet-time": _("Not now: nights, days of rest and seasons are left out"),
    "not-confirmed": _("Somebody has to confirm it"),
    "not-told": _("The notice has not reached the resident yet: hand over a paper"),
    "second-notice": _("The second notice is running"),
    "too-early": _("The notice period is running"),
    "cut-failed": _("The relay could not be switched: somebody has to look"),
}

CASE_ENDINGS: Final[Mapping[str, str]] = {
    "paid": _("Balance covered again"),
    "protected": _("The account is protected"),
    "disputed": _("A bill is in dispute"),
    "in-plan": _("Bills are paid by instalments"),
    "not-allowed": _("Disconnections are switched off"),
    "not-prepaid": _("Not prepaid any more"),
    "by-hand": _("By hand"),
}

CASE_REASONS: Final[Mapping[str, str]] = {
    "not-confirmed": _("The meter has not confirmed it"),
    "no-order": _("The order could not be given"),
}

CASE_STEPS: Final[Mapping[str, str]] = {
    "opened": _("Balance used up"),
    "notice": _("Written notice"),
    "due": _("Notice has run out"),
    "second-notice": _("Second notice"),
    "confirmed": _("Confirmed"),
    "ordered": _("Ordered off"),
    "off": _("Switched off"),
    "cut-failed": _("Could not be switched off"),
    "restore-ordered": _("Ordered on"),
    "alarm": _("Alarm: somebody has to look"),
    "reconnected": _("Switched on again"),
    "cancelled": _("Ended"),
}

PROTECTIONS: Final[Mapping[str, str]] = {
    "medical": _("Medical need"),
    "care": _("Children or people in need of care"),
    "other": _("Another reason"),
}

SPACE_STATES: Final[Mapping[str, str]] = {
    "free": _("Vacant"),
    "sold": _("Sold"),
    "rented": _("Rented out"),
    "reserved": _("Reserved"),
    "out-of-service": _("Out of service"),
}

LISTINGS: Final[Mapping[str, str]] = {
    "black": _("Black list"),
    "white": _("White list"),
}

LIST_STATES: Final[Mapping[str, str]] = {
    "coming": _("Not yet"),
    "in-force": _("In force"),
    "over": _("Over"),
    "ended": _("Taken off the list"),
}
