"""States and kinds of things, in the reader's language."""

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

DISPUTE_STATES: Final[Mapping[str, str]] = {
    "open": _("In dispute"),
    "upheld": _("Upheld"),
    "rejected": _("Rejected"),
    "withdrawn": _("Taken back"),
}

ASKED_STATES: Final[Mapping[str, str]] = {
    "asked": _("Waits for approval"),
    "approved": _("Approved"),
    "rejected": _("Rejected"),
}

PLAN_STATES: Final[Mapping[str, str]] = {
    "asked": _("Waits for approval"),
    "active": _("Under way"),
    "kept": _("Paid in full"),
    "broken": _("Broken"),
    "rejected": _("Rejected"),
    "cancelled": _("Cancelled"),
}

ADJUSTMENT_STATES: Final[Mapping[str, str]] = {
    "none": _("No difference"),
    "open": _("For the next bill"),
    "drafted": _("On a draft"),
    "billed": _("Billed"),
}

ADJUSTMENT_CAUSES: Final[Mapping[str, str]] = {
    "usage": _("Usage became known otherwise"),
    "facts": _("Persons, areas or dates were corrected"),
    "area": _("The floor area was filed otherwise"),
    "terms": _("It was agreed otherwise, ended or taken back"),
    "concession": _("A concession was granted for these days"),
    "persons": _("Other persons were filed for these days"),
}

LATE_KINDS: Final[Mapping[str, str]] = {
    "usage": _("Readings"),
    "persons": _("Persons"),
}

NOTE_CAUSES: Final[Mapping[str, str]] = {
    "error": _("The bill was wrong"),
    "goodwill": _("Goodwill"),
}
"""Why a credit note was made, by cloud.billing.corrections.counting.NoteCause."""

RESERVATION_STATES: Final[Mapping[str, str]] = {
    "booked": _("Booked"),
    "arrived": _("Arrived"),
    "done": _("Has left"),
    "no-show": _("Did not come"),
    "cancelled": _("Cancelled"),
}

HELD_KINDS: Final[Mapping[str, str]] = {
    "payment": _("Payment"),
    "deposit": _("Deposit taken"),
    "set-off": _("Bills paid from it"),
    "refund": _("Refund"),
    "credit_held": _("Credit note"),
    "late_fee_returned": _("Late fee given back"),
}
"""What moves money that is held for an account."""

JOURNAL_KINDS: Final[Mapping[str, str]] = {
    "bill": _("Bill"),
    "credit_note": _("Credit note"),
    "debit_note": _("Debit note"),
    "credit_held": _("Left of a credit note"),
    "payment": _("Payment"),
    "parking": _("Parking"),
    "deposit": _("Deposit"),
    "set-off": _("Paid from money held"),
    "refund": _("Refund"),
    "refund_due": _("To be given back"),
    "refund_kept": _("Kept, as nobody claims it"),
    "late_fee_returned": _("Late fee given back"),
    "tax_adjusted": _("Tax put right"),
}

INTENT_STATES: Final[Mapping[str, str]] = {
    "created": _("Being made"),
    "pending": _("Waits for payment"),
    "paid": _("Paid"),
    "failed": _("Failed"),
    "expired": _("Time is over"),
    "cancelled": _("Cancelled"),
}
"""States of attempts to pay by a provider."""

REFUND_STATES: Final[Mapping[str, str]] = {
    "open": _("Waits for a decision"),
    "asked": _("The provider is being asked"),
    "refunded": _("Given back"),
    "kept": _("Kept"),
}

REFUND_REASONS: Final[Mapping[str, str]] = {
    "paid-twice": _("Paid twice"),
    "order-over": _("Paid after the order was over"),
    "fee-lower": _("The stay costs less than was paid"),
    "stay-gone": _("The stay that was paid for is no more"),
}
"""Why money is to be given back."""

ASIDE_REASONS: Final[Mapping[str, str]] = {
    "unknown-order": _("We have no such order"),
    "amount-differs": _("The amount is not that of the order"),
    "order-over": _("The order was over already"),
    "paid-already": _("The order was paid already"),
}
"""Why money that a provider says was paid is kept aside."""

PAYMENT_FAILURES: Final[Mapping[str, str]] = {
    "amount-differs": _("The amount that was paid is not that of the order; staff look at it."),
    "closed-by-provider": _("The provider closed the order. Nothing was taken."),
    "wechat-unavailable": _("The provider does not answer"),
    "wechat-unsigned": _("The provider's answer cannot be verified"),
    "wechat-unreadable": _("The provider's answer cannot be read"),
    "alipay-unavailable": _("The provider does not answer"),
    "alipay-unsigned": _("The provider's answer cannot be verified"),
    "alipay-unreadable": _("The provider's answer cannot be read"),
}
"""Why nothing came of an attempt to pay; codes of the providers themselves are shown as they are."""

FINDINGS: Final[Mapping[str, str]] = {
    "journal": _("A journal does not balance"),
    "empty-journal": _("A journal has no postings"),
    "ledger": _("The whole ledger does not balance"),
    "bill": _("A bill and its lines differ"),
    "bill-journal": _("A bill and what was booked of it differ"),
    "receivable": _("Receivables of an account and its open bills differ"),
    "payment": _("A payment and what was booked of it differ"),
    "prepaid": _("More was taken from money paid in advance than there was"),
    "series": _("A series of numbers has holes"),
    "held-balance": _("The prepaid balance of an account and what moved it differ"),
    "held-deposit": _("The deposits of an account and what moved them differ"),
    "cash": _("A payment and what was booked as received differ"),
    "deposit": _("A deposit and its payment differ"),
    "set-off": _("Money held that paid bills and what it paid of them differ"),
    "set-off-journal": _("Money held that paid bills and what was booked of it differ"),
    "refund": _("A refund and what was booked of it differ"),
    "release": _("A released deposit and what it paid differ"),
    "late-fee": _("A late fee that was given back and what was booked of it differ"),
    "late-fees": _("Late fees paid and late fees booked differ"),
    "bill-tax": _("The taxes of a bill or note and what was booked as tax differ"),
    "correction-tax": _("The taxes of a correction and what was booked as tax differ"),
    "tax": _("Something that is no bill was booked as tax"),
    "shares": _("Shares do not add up to what was shared out"),
    "month-balance": _("The stored balances of a closed month and its journals differ"),
}
"""What a proof finds, by cloud.billing.ledger.proof.Discrepancy.what."""

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

AGREEMENT_KINDS: Final[Mapping[str, str]] = {
    "tariff": _("By a tariff"),
    "rent": _("Rent"),
    "package": _("Package"),
    "one_off": _("Once"),
}

CONCESSIONS: Final[Mapping[str, str]] = {
    "vacancy": _("Vacancy"),
    "long_lease": _("Long lease"),
    "subsidy": _("Subsidy"),
    "promotion": _("Promotion"),
    "other": _("Other"),
}
"""Rules of concessions."""

CONCESSION_KINDS: Final[Mapping[str, str]] = {
    "factor": _("Share still owed, such as 0.70"),
    "percent": _("Percent taken off"),
    "amount": _("Amount taken off for a month"),
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
