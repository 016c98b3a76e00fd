"""What becomes of understood rows: measured by what is stored around them and by the rows before. Pure, no clock.

Register readings: a value that is there already is repeated, another one stays. One that goes backward or further than
the register can from its neighbours is not stored until somebody confirms it.

Intervals become readings of a register that runs on by the quantity of each interval: one at its beginning, one at its
end. Where an interval begins later than the one before ended, the register stands still in between, for nobody knows
what was used there. So the advance over any stretch is the sum of its intervals, exactly. A row that is refused or
waits for confirmation holds up the later rows of its register: once it is repaired they follow it, and once one of
them is confirmed the register stands still over the missing row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from cloud.metering.imports.records import Outcome
from cloud.metering.readings.neighbours import Candidate, Neighbour, Register, question
from gateway.contract.quantities import BY_NUMBER

HELD: Final = "after-refused"
"""A row before it is missing."""

Series = tuple[int, int]
"""Meter and channel."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The register in force around a row; `opening` and `closing` where they are known, in the base unit.

    `judged`: whether its modulus and maximum say anything about the channel of the row.
    """

    from_ms: int
    until_ms: int
    register: Register
    judged: bool = True
    opening: int | None = None
    closing: int | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds of a register at an instant and around it, within the register in force."""

    here: int | None = None
    before: Neighbour | None = None
    after: Neighbour | None = None


NOTHING: Final = Stored()


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a register, by time and line. `outcome` waiting: to be answered now; else answered before.

    `register`: where the register stands at the end of an interval that is stored.
    """

    line: int
    meter_id: int
    channel: int
    taken_ms: int
    until_ms: int | None
    value: int | None
    outcome: Outcome
    register: int | None = None
    confirmed: str = ""
    """The code that somebody confirmed."""

    @property
    def series(self) -> Series:
        """Its register."""
        return self.meter_id, self.channel


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a row; `register` as in Row."""

    line: int
    outcome: Outcome
    code: str = ""
    field: str = ""
    detail: str = ""
    register: int | None = None


@dataclass(frozen=True, slots=True)
class NewReading:
    """A reading to store; `believed`: somebody confirmed it against its neighbours."""

    line: int
    meter_id: int
    channel: int
    ms: int
    value: int
    believed: bool = False


@dataclass(slots=True)
class Around:
    """What is known of the registers that a portion of rows is about."""

    stored: Mapping[tuple[int, int, int], Stored]
    """By meter, channel and time in ms: of every time that a waiting row begins or ends at."""
    registers: Mapping[int, InForce]
    """By line, of every waiting row."""


@dataclass(slots=True)
class _Run:
    """How far the rows of one register have come."""

    series: Series = (0, 0)
    last: Neighbour | None = None
    """The last row that is or will be in the store."""
    begun_ms: int = -1
    quantity: int = -1
    """Of the last interval."""
    held: bool = False


def shown(value: int, channel: int) -> str:
    """A value with its unit, in every digit."""
    quantity = BY_NUMBER[channel]
    return f"{Decimal(value).scaleb(quantity.display_exponent):f} {quantity.display_unit}".rstrip()


@dataclass(slots=True)
class Judging:
    """Answers rows of one import, portion by portion, all of them in the order of meter, channel, time and line."""

    opening: Decimal = Decimal(0)
    """Where a register without earlier readings begins, in the unit that people use for it."""
    answers: list[Answer] = field(default_factory=list)
    readings: list[NewReading] = field(default_factory=list)
    _run: _Run = field(default_factory=_Run)

    def judge(self, row: Row, around: Around) -> None:
        """Adds the answer of a waiting row and what has to be stored; an answered row only tells what was before."""
        if row.series != self._run.series:
            self._run = _Run(row.series)
        if row.outcome != "waiting":
            self._pass(row)
        elif row.line not in around.registers:
            self._run.held = True
            self._answer(row, "refused", "meter-removed", "expected a time at which the meter was in place")
        elif row.until_ms is None:
            self._register(row, around)
        else:
            self._interval(row, row.until_ms, around)

    def taken(self) -> tuple[list[Answer], list[NewReading]]:
        """Answers and readings since the last call."""
        found = self.answers, self.readings
        self.answers, self.readings = [], []
        return found

    def _pass(self, row: Row) -> None:
        run = self._run
        run.held = row.outcome in ("refused", "needs-confirmation")
        if row.outcome not in ("stored", "repeated") or row.value is None:
            return
        if row.until_ms is None:
            run.last = Neighbour(row.taken_ms, row.value)
        elif row.register is not None:
            run.last = Neighbour(row.until_ms, row.register)
            run.begun_ms, run.quantity = row.taken_ms, row.value

    def _answer(
        self, row: Row, outcome: Outcome, code: str = "", detail: str = "", register: int | None = None
    ) -> None:
        field_of = {"needs-confirmation": "value", "refused": "time"}
        self.answers.append(Answer(row.line, outcome, code, field_of.get(outcome, ""), detail, register))

    # Register readings ------------------------------------------------------------------------------------------

    def _register(self, row: Row, around: Around) -> None:
        assert row.value is not None
        here = Neighbour(row.taken_ms, row.value)
        stored = around.stored.get((*row.series, row.taken_ms), NOTHING)
        last = self._run.last
        there = last.value if stored.here is None and last is not None and last.time_ms == here.time_ms else stored.here
        if there is not None:
            self._there(row, there)
            return
        register = around.registers[row.line]
        code, detail = self._doubt(row, here, self._before(stored, register), _after(stored, register), register)
        self._store_or_ask(row, here, code, detail)

    def _there(self, row: Row, value: int) -> None:
        if value == row.value:
            self._answer(row, "repeated")
        else:
            detail = f"{shown(value, row.channel)} is stored for this instant: change it with an edit"
            self._answer(row, "other-value", "other-value", detail)

    def _store_or_ask(self, row: Row, here: Neighbour, code: str, detail: str) -> None:
        if code not in ("", row.confirmed):
            self._answer(row, "needs-confirmation", code, detail)
            return
        self._answer(row, "stored", code, detail)
        self.readings.append(NewReading(row.line, *row.series, here.time_ms, here.value, bool(code)))
        self._run.last = here

    def _before(self, stored: Stored, register: InForce) -> Neighbour | None:
        """The last reading before that counts, in the store or among the rows, or where the register was put in."""
        known = [one for one in (stored.before, self._run.last) if one is not None and one.time_ms >= register.from_ms]
        if known:
            return max(known, key=lambda one: one.time_ms)
        return None if register.opening is None else Neighbour(register.from_ms, register.opening)

    def _doubt(
        self, row: Row, here: Neighbour, before: Neighbour | None, after: Neighbour | None, register: InForce
    ) -> tuple[str, str]:
        """What speaks against a reading, and what was expected."""
        if not register.judged:
            return "", ""
        if before is not None and before.time_ms == here.time_ms:
            before = None
        asked = question(Candidate(row.series, here.time_ms, here.value, register.register, before, after))
        if asked is None:
            return "", ""
        detail = f"{shown(asked.neighbour.value, row.channel)} stands {asked.side} it"
        if asked.low is not None and asked.high is not None:
            detail += f": expected {shown(asked.low, row.channel)} to {shown(asked.high, row.channel)}"
        return asked.doubt, detail

    # Intervals --------------------------------------------------------------------------------------------------

    def _interval(self, row: Row, until_ms: int, around: Around) -> None:
        assert row.value is not None
        run, register = self._run, around.registers[row.line]
        # The instant of an exchange is the next register's: this one is read just before.
        end_ms = min(until_ms, register.until_ms - 1)
        begins, ends = (around.stored.get((*row.series, ms), NOTHING) for ms in (row.taken_ms, end_ms))
        if begins.here is not None and ends.here is not None:
            self._interval_there(row, end_ms, begins.here, ends.here, register)
        elif run.last is not None and row.taken_ms < run.last.time_ms and run.begun_ms >= 0:
            self._overlapping(row)
        else:
            self._run_on(row, Neighbour(end_ms, 0), begins, ends, register)

    def _interval_there(self, row: Row, end_ms: int, begin: int, end: int, register: InForce) -> None:
        there = (end - begin) % register.register.modulus
        if there == row.value:
            self._answer(row, "repeated", register=end)
        else:
            detail = f"{shown(there, row.channel)} is stored for this interval: change it with edits"
            self._answer(row, "other-value", "other-value", detail, end)
        run = self._run
        run.last, run.begun_ms, run.quantity, run.held = Neighbour(end_ms, end), row.taken_ms, there, False

    def _overlapping(self, row: Row) -> None:
        run = self._run
        if row.taken_ms == run.begun_ms and row.value == run.quantity:
            self._answer(row, "repeated", register=run.last.value if run.last else None)
        elif row.taken_ms == run.begun_ms:
            detail = f"another row says {shown(run.quantity, row.channel)} for this interval"
            self._answer(row, "other-value", "other-value", detail)
        else:
            run.held = True
            self._answer(row, "refused", "overlap", "expected an interval that begins after the one before ended")

    def _run_on(self, row: Row, end: Neighbour, begins: Stored, ends: Stored, register: InForce) -> None:
        """From where the register stands at the beginning by the quantity of the row."""
        assert row.value is not None
        run = self._run
        base = self._base(row, begins, register)
        here = Neighbour(end.time_ms, (base.value + row.value) % register.register.modulus)
        if ends.here is not None and ends.here != here.value:
            detail = f"{shown(ends.here, row.channel)} is stored at its end, not {shown(here.value, row.channel)}"
            self._answer(row, "other-value", "other-value", detail)
            run.last, run.held = Neighbour(end.time_ms, ends.here), False
            return
        inside = ends.before if ends.before is not None and ends.before.time_ms > base.time_ms else base
        code, detail = self._doubt(row, here, inside, _after(ends, register), register)
        if not code:
            code, detail = self._doubt(row, here, base, None, register)
        if not code and run.held and not row.confirmed:
            code, detail = HELD, "a row before it is not stored"
        if code not in ("", row.confirmed):
            run.held = True
            self._answer(row, "needs-confirmation", code, detail)
            return
        run.held = False
        self._answer(row, "stored", code, detail, here.value)
        if begins.here is None and (run.last is None or run.last.time_ms != base.time_ms):
            self.readings.append(NewReading(row.line, *row.series, base.time_ms, base.value))
        if ends.here is None:
            self.readings.append(NewReading(row.line, *row.series, here.time_ms, here.value, bool(code)))
        run.last, run.begun_ms, run.quantity = here, row.taken_ms, row.value

    def _base(self, row: Row, begins: Stored, register: InForce) -> Neighbour:
        if begins.here is not None:
            return Neighbour(row.taken_ms, begins.here)
        before = self._before(begins, register)
        if before is not None:
            return Neighbour(row.taken_ms, before.value)
        opening = int(self.opening.scaleb(-BY_NUMBER[row.channel].display_exponent))
        return Neighbour(row.taken_ms, opening % register.register.modulus)


def _after(stored: Stored, register: InForce) -> Neighbour | None:
    """The next reading in the store, or where the register stood when it was taken out."""
    if stored.after is not None or register.closing is None:
        return stored.after
    return Neighbour(register.until_ms, register.closing)
