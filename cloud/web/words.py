"""Stable codes in the reader's language: reasons, states, kinds of rows and jobs, fields of forms."""

from collections.abc import Mapping
from typing import Final

from cloud.kit import i18n
from cloud.kit.i18n import marked as _

REASONS: Final[Mapping[str, str]] = {
    # Accounts that a bill run could not bill.
    "bills-overlap": _("Neighbouring bills of this meter cover these days already"),
    "incomplete-usage": _("Usage of the meter is not complete in this period"),
    "missing-area": _("The unit has no billed area"),
    "missing-meter": _("The agreement names no meter"),
    "missing-reading": _("The meter has no reading at the start or end of the period"),
    "missing-tariff-version": _("The tariff has no version for some day of the period"),
    "partial-month": _("A monthly fee needs whole months; the period begins or ends inside one"),
    "periods-not-metered": _("Tariffs by time of use are not billed from meters yet"),
    "usage-not-settled": _("Readings came that usage does not show yet; run again a little later"),
    "ledger": _("The ledger does not balance"),
    # Messages that could not be taken.
    "bad-topic": _("The topic is not one of ours"),
    "empty": _("The message is empty"),
    "too-large": _("The message is too large"),
    "bad-encoding": _("The message cannot be decoded"),
    "bad-json": _("The message is not valid JSON"),
    "too-deep": _("The message is nested too deeply"),
    "bad-schema": _("The message does not have the agreed form"),
    "unknown-version": _("The message is of a newer version than this system understands"),
    "out-of-limits": _("A value of the message is outside the agreed limits"),
    "unknown-gateway": _("The gateway is not registered"),
    "not-storable": _("The database refused the content"),
    "internal-error": _("A fault of this system; the message is kept and can be replayed"),
    # Readings and passages that nothing can take.
    "unknown-device": _("The device is not registered"),
    "unbound": _("The device carries no meter"),
    "unknown-channel": _("The channel is not known"),
    "unknown-lane": _("The lane is not registered"),
    "clock": _("The time is impossible: the clock of the device is wrong"),
    # What gateways gave up.
    "outbox-full": _("The memory of the gateway was full"),
    "thinned": _("Thinned by the gateway to make room: fewer values over time"),
    "disk-full": _("The disk of the gateway was full"),
    "damaged-file": _("The memory of the gateway was damaged; what was readable may still come"),
    # Readings that usage is not derived from.
    "backward": _("The register went backward"),
    "spike": _("The register advanced more than the meter can"),
    # What a person asked for and did not get.
    "already-exists": _("Such an entry exists already"),
    "amount-changed": _("The amount due has changed meanwhile: load the page again"),
    "bad-amount": _("The amount does not fit what is due"),
    "bad-capacity": _("The capacity is not possible"),
    "bad-code": _("The code has characters that are not allowed"),
    "bad-credentials": _("Login or password is wrong"),
    "bad-currency": _("The currency is not that of the project"),
    "bad-cursor": _("This place in the list is no longer known: start at the first page"),
    "bad-date": _("The day is not possible"),
    "bad-dates": _("The end must be after the beginning"),
    "bad-limit": _("Too many or too few rows were asked for"),
    "bad-login": _("The login has characters that are not allowed"),
    "bad-maximum": _("The greatest hourly usage is not possible"),
    "bad-method": _("This way of paying is not known"),
    "bad-modulus": _("The size of the register is not possible"),
    "bad-month": _("This is not a month"),
    "bad-multiplier": _("The multiplier is not possible"),
    "bad-password": _("The password is too short or too long"),
    "bad-period": _("The period is not possible"),
    "bad-plate": _("This is not a number plate"),
    "bad-purpose": _("The purpose of the payment is not known"),
    "bad-validity": _("The time of validity is not possible"),
    "busy": _("Somebody else is changing the same: try again"),
    "cannot-grant": _("Nobody can give a role with more rights than his own"),
    "csrf": _("This form is too old or came from elsewhere: load the page again"),
    "database": _("The database does not answer now"),
    "in-use": _("Other entries still need this one"),
    "internal": _("Something went wrong here; it is noted"),
    "invalid-input": _("Some of what was entered is missing or not valid"),
    "key-reused": _("This form was sent already with other values"),
    "login-taken": _("This login is taken"),
    "method-not-allowed": _("This address does not do that"),
    "missing": _("Something that is needed is missing"),
    "no-barrier": _("The lane has no barrier"),
    "no-command": _("There is no such command"),
    "no-device": _("There is no such device"),
    "no-gateway": _("There is no such gateway"),
    "no-lane": _("There is no such lane"),
    "no-lot": _("There is no such car park"),
    "no-meter": _("There is no such meter"),
    "no-permission": _("You may not do this"),
    "no-project": _("No project is open to you"),
    "no-reason": _("A reason is needed"),
    "no-rule": _("No fee rule holds at this time"),
    "no-session": _("There is no such stay"),
    "no-such-account": _("There is no such account"),
    "no-such-address": _("There is no such page"),
    "no-such-bill": _("There is no such bill"),
    "no-such-job": _("There is no such job"),
    "no-such-person": _("There is no such person"),
    "no-such-project": _("There is no such project"),
    "no-such-run": _("There is no such bill run"),
    "no-such-token": _("There is no such token"),
    "not-allowed": _("The values break a rule of the data"),
    "not-open": _("The stay is over already"),
    "not-signed-in": _("You are not signed in"),
    "not-text": _("A text holds characters that cannot be kept"),
    "nothing-due": _("Nothing is due"),
    "other-currency": _("The currency is another one than that of the project"),
    "other-service": _("The tariff is for another service"),
    "out-of-range": _("A value is too large to be kept"),
    "overlap": _("The time overlaps another entry"),
    "refused": _("The database refused the change"),
    "rule-overlaps": _("Another fee rule holds at this time"),
    "run-in-progress": _("A bill run over this period is under way"),
    "too-many-attempts": _("Too many attempts: wait a few minutes"),
    "too-slow": _("This took too long: ask for less, or try again later"),
    "unknown-building": _("The project has no such building"),
    "unknown-person": _("The project has no such person"),
    "unknown-reference": _("Something that was named does not exist here"),
    "unknown-role": _("This role is not known"),
    "unknown-time-zone": _("This time zone is not known"),
    "unknown-unit": _("The project has no such unit"),
    "unmatched": _("The stay has no known beginning"),
    "unsupported-media-type": _("The content is of a kind that is not understood here"),
    "versions-overlap": _("Another version of the tariff holds at this time"),
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

COMMANDS: Final[Mapping[str, str]] = {
    "open-barrier": _("Open the barrier"),
    "close-barrier": _("Close the barrier"),
    "read-now": _("Read now"),
    "open-valve": _("Open the valve"),
    "close-valve": _("Close the valve"),
    "switch-on": _("Switch on"),
    "switch-off": _("Switch off"),
    "set-clock": _("Set the clock"),
}

JOBS: Final[Mapping[str, str]] = {
    "billing.run": _("Bill run"),
    "billing.late-fees": _("Late fees of the night"),
    "billing.prove-ledger": _("Proof of the ledger"),
    "identity.forget": _("Removing what has expired"),
    "metering.claim-all": _("Placing waiting readings"),
    "metering.claim-readings": _("Placing readings of a new device"),
    "metering.derive-usage": _("Deriving usage"),
    "metering.maintain": _("Upkeep of the readings"),
    "parking.let-out-waiting": _("Letting out a paid vehicle"),
}

CONTENTS: Final[Mapping[str, str]] = {
    "readings": _("Readings"),
    "passages": _("Passages"),
    "results": _("Results of commands"),
    "health": _("Health reports"),
    "gaps": _("Reports of gaps"),
}

TABLES: Final[Mapping[str, str]] = {
    "access_token": _("Access token"),
    "account": _("Account"),
    "app_user": _("User"),
    "bill": _("Bill"),
    "bill_run": _("Bill run"),
    "billing_policy": _("Rules of billing"),
    "building": _("Building"),
    "command": _("Command"),
    "device": _("Device"),
    "device_binding": _("Device on a meter"),
    "gateway": _("Gateway"),
    "household": _("Household filing"),
    "late_fee": _("Late fee"),
    "meter": _("Meter"),
    "occupancy": _("Occupancy"),
    "parking_lane": _("Parking lane"),
    "parking_lot": _("Car park"),
    "parking_rule_version": _("Parking fee rule"),
    "parking_session": _("Parking stay"),
    "payment": _("Payment"),
    "person": _("Person"),
    "project": _("Project"),
    "resident_link": _("Resident's access"),
    "role_grant": _("Role of a user"),
    "service_agreement": _("Service agreement"),
    "tariff": _("Tariff"),
    "tariff_version": _("Version of a tariff"),
    "unit": _("Unit"),
    "vehicle": _("Vehicle"),
}

FIELDS: Final[Mapping[str, str]] = {
    "account_id": _("Account"),
    "amount": _("Amount"),
    "building_id": _("Building"),
    "code": _("Number of the unit"),
    "cursor": _("Place in the list"),
    "login": _("Login"),
    "medium": _("Medium"),
    "method": _("Method"),
    "month": _("Month"),
    "on": _("Day"),
    "password": _("Password"),
    "plate": _("Plate"),
    "project_id": _("Project"),
    "reason": _("Reason"),
    "reference": _("Reference"),
    "search": _("Search"),
    "since": _("From"),
    "state": _("State"),
    "table": _("Kind of row"),
    "unit_id": _("Unit"),
    "until": _("Until"),
}

_FAMILIES: Final[Mapping[str, Mapping[str, str]]] = {
    "reason": REASONS,
    "command-state": COMMAND_STATES,
    "command": COMMANDS,
    "job": JOBS,
    "content": CONTENTS,
    "table": TABLES,
    "field": FIELDS,
}


def word(code: str, family: str, otherwise: str = "") -> str:
    """What `code` of a family means, in the language in use; `otherwise` (or the code) when it is not known here."""
    message = _FAMILIES[family].get(code)
    return otherwise or code if message is None else i18n.gettext(message)


def choices(family: str) -> list[tuple[str, str]]:
    """Codes of a family and what they mean, in the order of the words."""
    return sorted(((code, word(code, family)) for code in _FAMILIES[family]), key=lambda choice: choice[1])
