"""Rows of a file of readings understood: which meter, which register in force then, which time and value. Pure.

What a row says is measured by the register that was in force at its time, not by the one of today: its modulus, its
resolution, its serial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from cloud.kit.errors import InvalidInput
from cloud.kit.periods import in_ms
from cloud.kit.tables import TableRow
from cloud.metering.imports.records import Kind, Stamped
from cloud.metering.imports.table import instant, number
from cloud.metering.records import Meter, MeterRegister, belongs_to
from gateway.contract import quantities
from gateway.contract.quantities import BY_CODE, EXPONENT_OF_PREFIXED_UNIT, Quantity

LONGEST_S: Final = 40 * 86_400
"""Of an interval: a month of local days and some more."""

FUTURE: Final = timedelta(minutes=5)
"""How far ahead of now a reading may be stamped: clocks of people are not ours."""


@dataclass(frozen=True, slots=True)
class KnownMeter:
    """A meter with its registers in the order of time."""

    meter: Meter
    registers: Sequence[MeterRegister]

    def register_at(self, at: datetime) -> MeterRegister | None:
        """The register in force at this instant."""
        for register in self.registers:
            if register.valid_from <= at and (register.valid_until is None or at < register.valid_until):
                return register
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read; see ReadingImport."""

    kind: Kind
    zone: ZoneInfo
    now: datetime
    stamped: Stamped = "start"
    interval_s: int | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """What a row says; with a `code` it is refused, and `field` and `detail` say why.

    Times in ms since 1970; `until_ms` of intervals. `placed_ms`: where it stands among the rows of its register, also
    when its own time cannot be read. `value` in the base unit of the channel.
    """

    line: int
    raw: tuple[str, ...]
    meter_id: int | None = None
    channel: int | None = None
    placed_ms: int | None = None
    taken_ms: int | None = None
    until_ms: int | None = None
    value: int | None = None
    code: str = ""
    field: str = ""
    detail: str = ""


@dataclass(slots=True)
class _Found:
    """What of a row is known so far, for the answer when it is refused later on."""

    meter_id: int | None = None
    channel: int | None = None
    taken_ms: int | None = None


@dataclass(slots=True)
class Rows:
    """Understands the rows of one file in their order.

    `by_code`, `by_serial`: the meters that the file may name; a serial may have been at several meters.
    """

    how: Reading
    by_code: Mapping[str, KnownMeter]
    by_serial: Mapping[str, Sequence[KnownMeter]]
    _last: dict[tuple[int, int], int] = field(default_factory=dict)

    def knowing(self, by_code: Mapping[str, KnownMeter], by_serial: Mapping[str, Sequence[KnownMeter]]) -> "Rows":
        """The same with the meters that the next rows may name."""
        self.by_code, self.by_serial = by_code, by_serial
        return self

    def understand(self, row: TableRow) -> Understood:
        """The row, or why it is refused."""
        found = _Found()
        try:
            understood = self._read(row, found)
        except InvalidInput as refusal:
            error = _not_calculated(row, refusal) or refusal
            understood = Understood(
                row.line, row.raw, found.meter_id, found.channel, self._place(found), found.taken_ms, None, None,
                error.code, error.field or "", error.detail,
            )  # fmt: skip
        if understood.placed_ms is not None and understood.meter_id is not None and understood.channel is not None:
            self._last[understood.meter_id, understood.channel] = understood.placed_ms
        return understood

    def _place(self, found: _Found) -> int | None:
        """A row whose time cannot be read stands where the row of its register before it stands."""
        if found.meter_id is None or found.channel is None:
            return None
        return self._last.get((found.meter_id, found.channel), 0) if found.taken_ms is None else found.taken_ms

    def _read(self, row: TableRow, found: _Found) -> Understood:
        known = self._named(row)
        # Of several meters that bore this serial, the time tells which one is meant.
        sole = known[0] if len({one.meter.id for one in known}) == 1 else None
        if sole is not None:
            found.meter_id, found.channel = sole.meter.id, _channel(row, sole.meter).number
        start, end = self._times(row)
        found.taken_ms = in_ms(start)
        meter = sole or self._in_place(known, row, start)
        quantity = _channel(row, meter.meter)
        found.meter_id, found.channel = meter.meter.id, quantity.number
        register = self._register(meter, row, start, end)
        value = _value(row, self.how.kind, quantity, meter.meter, register)
        taken = in_ms(start)
        return Understood(
            row.line, row.raw, meter.meter.id, quantity.number, taken, taken, None if end is None else in_ms(end), value
        )

    def _named(self, row: TableRow) -> Sequence[KnownMeter]:
        code, serial = row.cells.get("meter", ""), row.cells.get("serial", "")
        by_code = [self.by_code[code]] if code in self.by_code else []
        found = by_code if code else self.by_serial.get(serial, ())
        if not found:
            raise InvalidInput(
                "unknown-meter", "expected the code or serial of one meter of the project",
                field="meter" if code or "meter" in row.cells else "serial",
            )  # fmt: skip
        return found

    def _in_place(self, known: Sequence[KnownMeter], row: TableRow, at: datetime) -> KnownMeter:
        """The one of several meters that bore the serial of the row at this instant."""
        serial = row.cells["serial"]
        there = [one for one in known if (register := one.register_at(at)) is not None and register.serial == serial]
        if len(there) != 1:
            raise InvalidInput(
                "unknown-meter", f"expected a serial of one meter: {serial[:40]} was at {len(there)} then",
                field="serial",
            )  # fmt: skip
        return there[0]

    def _register(self, known: KnownMeter, row: TableRow, start: datetime, end: datetime | None) -> MeterRegister:
        """The register in force; an interval lies within one."""
        first = known.registers[0].valid_from
        if start < first:
            raise InvalidInput("before-installation", f"expected a time from {first.isoformat()} on", field="time")
        if (end or start) > self.how.now + FUTURE:
            raise InvalidInput("in-future", "expected a time that has come", field="time")
        register = known.register_at(start)
        if register is None:
            raise InvalidInput("meter-removed", "expected a time at which the meter was in place", field="time")
        if not row.cells.get("meter") and register.serial != row.cells.get("serial"):
            raise InvalidInput(
                "other-serial", f"expected {register.serial or 'no serial'}: this meter bore it then", field="serial"
            )
        if end is not None and register.valid_until is not None and end > register.valid_until:
            raise InvalidInput(
                "over-an-exchange",
                f"expected an interval that ends at {register.valid_until.isoformat()}, where the register ends",
                field="time",
            )
        return register

    def _times(self, row: TableRow) -> tuple[datetime, datetime | None]:
        """When a register was read; or where an interval begins and ends."""
        at = instant(row.cells.get("time", ""), self.how.zone)
        if self.how.kind == "register":
            return at, None
        if row.cells.get("end"):
            try:
                start, end = at, instant(row.cells["end"], self.how.zone)
            except InvalidInput as error:
                raise InvalidInput(error.code, error.detail, field="end") from error
        else:
            length = _length_s(row, self.how.interval_s)
            other = self._shifted(at, length if self.how.stamped == "start" else -length)
            start, end = min(at, other), max(at, other)
        if not timedelta() < end - start <= timedelta(seconds=LONGEST_S):
            raise InvalidInput("bad-length", f"expected an interval of 1 to {LONGEST_S} seconds", field="length")
        return start, end

    def _shifted(self, at: datetime, seconds: int) -> datetime:
        """So much later; whole days go by the local clock, whatever their length."""
        if seconds % 86_400:
            return at + timedelta(seconds=seconds)
        local = at.astimezone(self.how.zone).replace(tzinfo=None) + timedelta(days=seconds // 86_400)
        return local.replace(tzinfo=self.how.zone).astimezone(UTC)


def _not_calculated(row: TableRow, refusal: InvalidInput) -> InvalidInput | None:
    """What there is to say of a refused cell that holds a formula: no program that calculates has stored the file."""
    formula = row.cells.get(refusal.field or "", "")
    if not formula.startswith("="):
        return None
    return InvalidInput(
        "formula-without-value",
        f"{refusal.field} in line {row.line}: {formula[:40]} is a formula without a stored value: "
        "save the file in Excel or WPS once",
        field=refusal.field,
    )


def _channel(row: TableRow, meter: Meter) -> Quantity:
    code = row.cells.get("channel") or meter.main_channel.code
    quantity = BY_CODE.get(code)
    if quantity is None:
        raise InvalidInput("unknown-channel", "expected the code of a channel", field="channel")
    if not belongs_to(quantity, meter.medium):
        raise InvalidInput(
            "wrong-channel", f"expected a channel of a meter for {meter.medium}, found {code}", field="channel"
        )
    return quantity


def _length_s(row: TableRow, otherwise: int | None) -> int:
    text = row.cells.get("length", "")
    if not text and otherwise is not None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 9 and int(text) > 0):
        raise InvalidInput("bad-length", f"expected the interval in seconds, found {text[:20]!r}", field="length")
    return int(text)


def _value(row: TableRow, kind: Kind, quantity: Quantity, meter: Meter, register: MeterRegister) -> int:
    """In the base unit. Raises InvalidInput: no number, other unit, too fine, beyond the register."""
    cumulative = quantity.kind is quantities.Kind.CUMULATIVE
    if kind == "interval" and not cumulative:
        raise InvalidInput("not-cumulative", f"{quantity.code} is nothing that adds up", field="channel")
    value = in_base_unit(row.cells.get("value", ""), row.cells.get("unit", ""), quantity)
    if value >= (register.modulus if cumulative else 2**63):
        raise InvalidInput("beyond-register", "expected a value that the register can show", field="value")
    resolution = register.resolution if kind == "register" and quantity == meter.main_channel else 1
    if value % resolution:
        shown = Decimal(resolution).scaleb(quantity.display_exponent)
        raise InvalidInput(
            "too-fine", f"expected steps of {shown:f} {quantity.display_unit}, the last digit of the register",
            field="value",
        )  # fmt: skip
    return value


def in_base_unit(text: str, unit: str, quantity: Quantity) -> int:
    """A value from 0 on in the base unit of the quantity, from text in `unit` (empty: the one people use).

    Raises InvalidInput.
    """
    base, exponent = EXPONENT_OF_PREFIXED_UNIT.get(unit or quantity.display_unit, ("", 0))
    if base != quantity.unit:
        raise InvalidInput("other-unit", f"expected {quantity.display_unit}, found {unit[:20]}", field="unit")
    value = number(text).scaleb(exponent)
    if value < 0:
        raise InvalidInput("negative", "expected a value from 0 on", field="value")
    if value >= 2**63:
        raise InvalidInput("beyond-register", "expected a value that the register can show", field="value")
    if value != value.to_integral_value():
        raise InvalidInput("too-fine", f"expected whole {quantity.unit}", field="value")
    return int(value)
