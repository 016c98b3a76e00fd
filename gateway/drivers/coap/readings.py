"""SenML records to exact integers in base units by a device's template; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from gateway.contract import limits
from gateway.contract.messages import Quality
from gateway.drivers.coap.errors import BadPayload
from gateway.drivers.coap.senml import EXACT, Record
from gateway.templates.senml import SenmlRecord, SenmlTemplate

_MOST_DIGITS: Final = 19
"""Of a 64-bit integer: what is longer is no value, and is not worked out."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value in the base unit of its quantity, at the time that the device gave it."""

    channel: str
    at_ms: int
    absolute: bool
    """Whether the device's own clock said so."""
    value: int
    quality: int = 0


class Channels:
    """A template's records by their names; compiled once, shared by every device of it."""

    def __init__(self, template: SenmlTemplate) -> None:
        self._by_record: dict[str, list[_Channel]] = {}
        for register in template.registers:
            self._by_record.setdefault(register.record, []).append(_compiled(register))

    def samples(self, records: Iterable[Record], prefix: str | None) -> tuple[list[Sample], int]:
        """(samples, channels that the device gave no usable value for).

        The template's names follow `prefix`; without one, they follow the base name or stand alone. Records that the
        template does not name are passed over. Raises BadPayload when a unit or type is not the template's, and
        when the template names none of the records.
        """
        samples: list[Sample] = []
        missing = 0
        known = False
        for record in records:
            for channel in self._of(record, prefix):
                known = True
                sample = channel.sample(record)
                if sample is None:
                    missing += 1
                else:
                    samples.append(sample)
        if not known:
            behind = f" behind {prefix!a}" if prefix else ""
            raise BadPayload("payload", f"a record named {', '.join(self._by_record)}{behind}")
        return samples, missing

    def _of(self, record: Record, prefix: str | None) -> Sequence["_Channel"]:
        if prefix is None:
            return self._by_record.get(record.name) or self._by_record.get(record.local) or ()
        return self._by_record.get(record.name.removeprefix(prefix), ()) if record.name.startswith(prefix) else ()


@dataclass(frozen=True, slots=True)
class _Channel:
    channel: str
    sent_as: str
    integral: bool
    factor: Decimal
    states: Mapping[str, int]
    low: int
    high: int

    def sample(self, record: Record) -> Sample | None:
        """None when the device has no value: not a number, or beyond 64 bits. Raises BadPayload."""
        given = record.sum if self.integral else record.value
        if self.states:
            return Sample(self.channel, record.at_ms, record.absolute, self._state(record))
        if not isinstance(given, Decimal):
            raise BadPayload(f"{record.name} {'s' if self.integral else 'v'}", "a number")
        if record.unit != self.sent_as:
            raise BadPayload(f"{record.name} u", f"the unit {self.sent_as!a}, found {record.unit!a}")
        if not given.is_finite() or (given and given.adjusted() + self.factor.adjusted() > _MOST_DIGITS):
            return None
        scaled = int(EXACT.multiply(given, self.factor).to_integral_value(ROUND_HALF_EVEN))
        if self.low <= scaled <= self.high:
            return Sample(self.channel, record.at_ms, record.absolute, scaled)
        if limits.MIN_VALUE <= scaled <= limits.MAX_VALUE:
            return Sample(self.channel, record.at_ms, record.absolute, scaled, int(Quality.OUT_OF_RANGE))
        return None

    def _state(self, record: Record) -> int:
        given = record.value
        shown = str(given).lower() if isinstance(given, bool) else given
        if not isinstance(shown, str) or shown not in self.states:
            raise BadPayload(record.name, f"one of {', '.join(self.states)}")
        return self.states[shown]


def _compiled(register: SenmlRecord) -> _Channel:
    low, high = register.plausible
    return _Channel(
        register.channel,
        register.unit if register.sent_as is None else register.sent_as,
        register.field == "sum",
        register.factor,
        register.states,
        low,
        high,
    )
