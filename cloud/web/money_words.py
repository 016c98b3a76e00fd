"""States and kinds of bills, money and payments, in the reader's language."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

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
    "statement-not-made": _("The provider is making it"),
    "statement-missing": _("The provider has none, although money came on that day"),
    "statement-unreadable": _("It is not whole, or not as the provider's document says"),
    "statement-too-slow": _("It comes too slowly"),
    "statement-not-kept": _("What it says cannot be stored"),
}
"""Why nothing came of an attempt to pay or to read a statement; codes of providers are shown as they are."""

DIFFERENCES: Final[Mapping[str, str]] = {
    "payment-missing-there": _("A payment that the provider does not know"),
    "payment-differs": _("The provider took another amount"),
    "refund-missing-there": _("A refund that the provider does not know"),
    "refund-missing-here": _("Given back at the provider, but not here"),
    "refund-differs": _("The provider gave back another amount"),
    "refund-failed": _("The refund did not reach the payer"),
}
"""Where a provider's statement and our books disagree."""

DIFFERENCE_STATES: Final[Mapping[str, str]] = {
    "open": _("Nobody has looked at it"),
    "gone": _("They agree by now"),
    "settled": _("Dealt with"),
}

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
