"""Stable codes in the reader's language, by family; the words themselves are in the rooms beside this one."""

from collections.abc import Mapping
from typing import Final

from cloud.kit import i18n
from cloud.web import (
    column_words,
    desk_words,
    estate_words,
    money_reason_words,
    money_words,
    parking_column_words,
    parking_reason_words,
    parking_words,
    reason_words,
    run_advice_words,
    state_words,
    thing_words,
    threshold_words,
)

_FAMILIES: Final[Mapping[str, Mapping[str, str]]] = {
    "reason": {
        **reason_words.REASONS,
        **money_reason_words.MONEY_REASONS,
        **parking_reason_words.PARKING_REASONS,
    },
    "command-state": state_words.COMMAND_STATES,
    "command": state_words.COMMANDS,
    "configuration-state": state_words.CONFIGURATION_STATES,
    "job": thing_words.JOBS,
    "exception-state": state_words.EXCEPTION_STATES,
    "dispute-state": money_words.DISPUTE_STATES,
    "asked-state": money_words.ASKED_STATES,
    "plan-state": money_words.PLAN_STATES,
    "occupancy-role": estate_words.OCCUPANCY_ROLES,
    "unit-kind": estate_words.UNIT_KINDS,
    "moves": estate_words.MOVES,
    "adjustment-state": money_words.ADJUSTMENT_STATES,
    "adjustment-cause": money_words.ADJUSTMENT_CAUSES,
    "late-kind": money_words.LATE_KINDS,
    "note-cause": money_words.NOTE_CAUSES,
    "held-kind": money_words.HELD_KINDS,
    "reservation-state": state_words.RESERVATION_STATES,
    "intent-state": money_words.INTENT_STATES,
    "refund-state": money_words.REFUND_STATES,
    "refund-reason": money_words.REFUND_REASONS,
    "aside-reason": money_words.ASIDE_REASONS,
    "difference": money_words.DIFFERENCES,
    "difference-state": money_words.DIFFERENCE_STATES,
    "payment-failure": money_words.PAYMENT_FAILURES,
    "finding": money_words.FINDINGS,
    "journal-kind": money_words.JOURNAL_KINDS,
    "inbox-state": state_words.INBOX_STATES,
    "edit": state_words.EDITS,
    "submission-state": state_words.SUBMISSION_STATES,
    "meter-class": state_words.METER_CLASSES,
    "threshold": threshold_words.SETTINGS,
    "threshold-choice": threshold_words.CHOICES,
    "threshold-unit": threshold_words.UNITS,
    "threshold-source": threshold_words.SOURCES,
    "quality": state_words.QUALITY,
    "content": thing_words.CONTENTS,
    "table": thing_words.TABLES,
    "field": thing_words.FIELDS,
    "column": {**column_words.COLUMNS, **parking_column_words.PARKING_COLUMNS},
    "meter-warning": state_words.METER_WARNINGS,
    "channel": thing_words.CHANNELS,
    "import-state": state_words.IMPORT_STATES,
    "import-outcome": state_words.IMPORT_OUTCOMES,
    "import-kind": state_words.IMPORT_KINDS,
    "webhook-kind": state_words.WEBHOOK_KINDS,
    "permit-kind": state_words.PERMIT_KINDS,
    "permit-state": state_words.PERMIT_STATES,
    "notice-kind": state_words.NOTICE_KINDS,
    "notice-state": state_words.NOTICE_STATES,
    "notice-reason": state_words.NOTICE_REASONS,
    "run-advice": run_advice_words.RUN_ADVICE,
    "delivery-state": state_words.DELIVERY_STATES,
    "webhook-stop": state_words.WEBHOOK_STOPS,
    "agreement-kind": money_words.AGREEMENT_KINDS,
    "concession": money_words.CONCESSIONS,
    "concession-kind": money_words.CONCESSION_KINDS,
    "months": thing_words.MONTHS,
    "case-state": state_words.CASE_STATES,
    "case-hold": state_words.CASE_HOLDS,
    "case-ending": state_words.CASE_ENDINGS,
    "case-reason": state_words.CASE_REASONS,
    "case-step": state_words.CASE_STEPS,
    "protection": state_words.PROTECTIONS,
    "parking-incident": parking_words.INCIDENTS,
    "parking-incident-state": parking_words.INCIDENT_STATES,
    "parking-then": parking_words.UNSEEN_ENTRY,
    "parking-inner-time": parking_words.INNER_TIME,
    "parking-misread": parking_words.MISREAD,
    "parking-decision": parking_words.DECISIONS,
    "space-state": state_words.SPACE_STATES,
    "listing": state_words.LISTINGS,
    "list-state": state_words.LIST_STATES,
    "shift-state": desk_words.SHIFT_STATES,
    "opening-reason": desk_words.OPENING_REASONS,
    "passage-outcome": desk_words.OUTCOMES,
}


def word(code: str, family: str, otherwise: str = "") -> str:
    """What `code` of a family means, in the language in use; `otherwise` (or the code) when it is not known here."""
    message = _FAMILIES[family].get(code)
    return otherwise or code if message is None else i18n.gettext(message)


def actor(name: str | None) -> str:
    """Who did something, for people, from what is kept: `user:<login>`, `system:<part>`, `command-line:<login>`."""
    if name is None:
        return "–"
    kind, _, rest = name.partition(":")
    if kind == "system" or name == "downlink":
        return i18n.gettext("The system")
    return {"user": rest, "command-line": f"{i18n.gettext('administration')} ({rest})"}.get(kind, name)


def flags(quality: int) -> list[str]:
    """What is known against a reading, one sentence a flag; a flag of a newer gateway by its number."""
    return [word(str(1 << bit), "quality") for bit in range(quality.bit_length()) if quality >> bit & 1]


def choices(family: str) -> list[tuple[str, str]]:
    """Codes of a family and what they mean, in the order of the words."""
    return sorted(((code, word(code, family)) for code in _FAMILIES[family]), key=lambda choice: choice[1])
