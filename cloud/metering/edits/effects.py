"""What an edit of a reading does to usage, told before it is made. Nothing is changed here."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.metering import repository
from cloud.metering.assets.ratings import product
from cloud.metering.assets.registers import registers_of
from cloud.metering.edits.service import Action
from cloud.metering.readings import neighbours_repository
from cloud.metering.readings.listing import ListedReading
from cloud.metering.readings.neighbours import Candidate, Neighbour, Question, Register, advance_within, question
from cloud.metering.records import Reading, UsageRow
from cloud.metering.service import BOUNDARY_TOLERANCE

_EPOCH = datetime.fromtimestamp(0, UTC)
_SMALLEST = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Side:
    """Usage between the reading and the one before or after it that counts, multiplier applied; None: not known."""

    neighbour: Neighbour
    now: int | None
    then: int | None

    @property
    def at(self) -> datetime:
        """When the other reading was taken."""
        return _EPOCH + timedelta(milliseconds=self.neighbour.time_ms)


@dataclass(frozen=True, slots=True)
class Effect:
    """What changes: usage of `rows` is derived again, the rest stays.

    `then`: the value that counts afterwards, None where usage goes without the reading. `doubt`: what does not fit
    then, though a value that staff gave counts all the same. `over`: usage from the reading before to the one after
    where both are known; it is shared out otherwise, but stays the same as long as nothing goes backward.
    """

    now: int | None
    then: int | None
    before: Side | None
    after: Side | None
    doubt: Question | None
    rows: tuple[UsageRow, ...]

    @property
    def start(self) -> datetime | None:
        """Where the first of the rows begins."""
        return self.rows[0].start if self.rows else None

    @property
    def end(self) -> datetime | None:
        """Where the last of them ends."""
        return self.rows[-1].start + timedelta(seconds=self.rows[-1].length_s) if self.rows else None

    @property
    def used(self) -> int:
        """What the rows say now, in the base unit."""
        return sum(row.quantity for row in self.rows)


async def effect(conn: Conn, listed: ListedReading, action: Action, value: int | None) -> Effect:
    """What `action` would do. `value`: in the base unit, for `set`."""
    reading = listed.reading
    at = reading.taken_at
    around = (await neighbours_repository.around(conn, [(reading.meter_id, reading.channel, at)]))[0]
    fits = None
    if around.register is not None:
        shown = value if value is not None else reading.value
        fits = question(Candidate((), in_ms(at), shown, around.register, around.before, around.after))
    then = _then(listed, action, value, fits)
    multiplier = await _multiplier(conn, reading.meter_id, around.register_id)
    before = after = None
    if around.before is not None and around.register is not None:
        before = _side(around.before, in_ms(at), (listed.counts_as, then), around.register, multiplier, earlier=True)
    if around.after is not None and around.register is not None:
        after = _side(around.after, in_ms(at), (listed.counts_as, then), around.register, multiplier, earlier=False)
    rows = await _rows(conn, reading, before, after)
    doubt = fits if action in ("set", "use", "original") else None
    return Effect(listed.counts_as, then, before, after, doubt, tuple(rows))


def _then(listed: ListedReading, action: Action, value: int | None, fits: Question | None) -> int | None:
    """The value that counts afterwards; one that is taken back is judged by the rules as any other."""
    if action == "set":
        return value
    if action == "ignore" or (action == "original" and fits is not None):
        return None
    return listed.reading.value


async def _rows(conn: Conn, reading: Reading, before: Side | None, after: Side | None) -> list[UsageRow]:
    """Usage with an end whose position this reading tells or helps to estimate.

    Positions up to the reading before do not hang on it, nor those that the reading after is the boundary of.
    """
    start = reading.taken_at if before is None else before.at
    end = reading.taken_at if after is None else max(reading.taken_at, after.at - BOUNDARY_TOLERANCE)
    return await repository.usage(conn, reading.meter_id, reading.channel, start, end + _SMALLEST)


async def _multiplier(conn: Conn, meter_id: int, register_id: int | None) -> Decimal:
    found = (await registers_of(conn, [meter_id])).get(meter_id, [])
    return next((one.multiplier for one in found if one.id == register_id), Decimal(1))


def _side(
    neighbour: Neighbour,
    at_ms: int,
    values: tuple[int | None, int | None],
    register: Register,
    multiplier: Decimal,
    *,
    earlier: bool,
) -> Side:
    def used(value: int | None) -> int | None:
        if value is None:
            return None
        here = Neighbour(at_ms, value)
        first, last = (neighbour, here) if earlier else (here, neighbour)
        return advance(first, last, register, multiplier)

    return Side(neighbour, used(values[0]), used(values[1]))


def advance(first: Neighbour, last: Neighbour, register: Register, multiplier: Decimal) -> int:
    """Usage from one reading that counts to the next, multiplier applied (base unit).

    As usage is derived: a register near its end may have started again at 0; one that went back otherwise, because
    staff said so, counts anew and used nothing.
    """
    end = last.value
    if end < first.value:
        turned = end + register.modulus
        near_end = 10 * first.value >= 9 * register.modulus
        possible = turned - first.value <= advance_within(last.time_ms - first.time_ms, register)
        if not (near_end and possible):
            return 0
        end = turned
    return product(end, multiplier) - product(first.value, multiplier)
