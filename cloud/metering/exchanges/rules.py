"""Rules of the readings at a change of register: pure, no clock, no database."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from cloud.kit.errors import InvalidInput
from cloud.metering.assets.ratings import product
from cloud.metering.exchanges.records import ChannelEnd, ChannelOutcome, Neighbours, WarningCode
from cloud.metering.records import MeterRegister

_HOUR_US: Final = timedelta(hours=1) // timedelta(microseconds=1)
_SLACK: Final = timedelta(minutes=1)


def check_instant(at: datetime, register: MeterRegister, now: datetime) -> None:
    """A change lies between the start of the register in force and now. Raises InvalidInput."""
    if at > now:
        raise InvalidInput("change-in-future", f"expected a time that has passed, not {at.isoformat()}", field="at")
    if at <= register.valid_from:
        raise InvalidInput(
            "change-too-early", f"the register is in force since {register.valid_from.isoformat()}", field="at"
        )


def check_end(end: ChannelEnd, names: tuple[str, str], neighbours: Neighbours, before: MeterRegister,
              after: MeterRegister | None) -> None:  # fmt: skip
    """Raises InvalidInput unless the readings are of these registers and the final one follows the last known one.

    `names`: fields that a problem names, of the final and of the initial reading.
    """
    for value, register, name, code in (
        (end.final, before, names[0], "bad-final"),
        (end.initial, after, names[1], "bad-initial"),
    ):
        if value is not None and register is not None and not 0 <= value < register.modulus:
            raise InvalidInput(code, f"expected 0 to below {register.modulus} of the base unit", field=name)
    if end.final is not None and neighbours.before is not None:
        base = neighbours.before.value
        if end.final < base and not _may_have_rolled(base, before):
            raise InvalidInput(
                "below-last-reading",
                f"the register read {base} of the base unit already, at {neighbours.before.taken_at.isoformat()}",
                field=names[0],
            )


def outcome(end: ChannelEnd, neighbours: Neighbours, before: MeterRegister,
            after: MeterRegister | None) -> ChannelOutcome:  # fmt: skip
    """Usage on both sides of the change: (final - last) x k_old and (next - initial) x k_new."""
    used_before = used_after = None
    if end.final is not None and neighbours.before is not None:
        used_before = _used(neighbours.before.value, end.final, before)
    if after is not None and end.initial is not None and neighbours.after is not None:
        used_after = _used(end.initial, neighbours.after.value, after)
    return ChannelOutcome(end, neighbours, used_before, used_after)


def warnings(found: ChannelOutcome, before: MeterRegister, after: MeterRegister | None,
             at: datetime) -> Iterator[WarningCode]:  # fmt: skip
    """What a person should look at before the change is made."""
    end, last, following = found.end, found.neighbours.before, found.neighbours.after
    if end.final is None or (after is not None and end.initial is None):
        yield "ends-missing"
        return
    if last is None:
        yield "nothing-to-compare"
    elif not _fits(last.value, end.final, at - last.taken_at, before):
        yield "above-maximum"
    if after is None or following is None or end.initial is None:
        return
    if not _fits(end.initial, following.value, following.taken_at - at, after):
        yield "next-does-not-fit"


def _advance(start: int, end: int, register: MeterRegister) -> int:
    return end - start + (register.modulus if end < start else 0)


def _used(start: int, end: int, register: MeterRegister) -> int:
    advance = _advance(start, end, register)
    return product(start + advance, register.multiplier) - product(start, register.multiplier)


def _may_have_rolled(base: int, register: MeterRegister) -> bool:
    return 10 * base >= 9 * register.modulus


def _fits(start: int, end: int, time: timedelta, register: MeterRegister) -> bool:
    """Whether the register can have gone that far: V7, with a minute for what a person reads off a clock."""
    if end < start and not _may_have_rolled(start, register):
        return False
    microseconds = (time + _SLACK) // timedelta(microseconds=1)
    return _advance(start, end, register) <= register.max_per_hour * microseconds // _HOUR_US + register.resolution
