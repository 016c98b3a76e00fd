"""What a Modbus device bears, and which values of a template no read can hold."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.templates.base import Strict
from gateway.templates.located import Finding, Loc
from gateway.templates.modbus_registers import Address, ReadFunction, Register, Span

MOST_COILS = 2_000


class AddressRange(Strict):
    """Addresses from `first` to `last`, both included."""

    function: ReadFunction
    first: Address
    last: Address

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first > self.last:
            raise ValueError("expected first not above last")
        return self


class Limits(Strict):
    """What the device cannot bear."""

    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Most registers in one read; 16 times as many coils."""
    refuses_holes: bool = False
    """Answers an exception when a read covers an address that this template does not name."""
    forbidden: tuple[AddressRange, ...] = ()
    """Addresses that must not be read, not even between others."""
    pause_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Silence that the device needs between two requests."""

    def most(self, function: int) -> int:
        """Registers, or coils, in one read."""
        return self.max_registers if function in (3, 4) else min(MOST_COILS, 16 * self.max_registers)


def findings(instances: Sequence[Sequence[Register]], places: Sequence[Loc], limits: Limits) -> Iterable[Finding]:
    """Every finding in `instances`, the same registers moved; `places` is where each of them is written."""
    known = named(register for registers in instances for register in registers)
    for registers in instances:
        found = [
            finding
            for place, register in zip(places, registers, strict=True)
            for finding in _of_register(place, register, limits, known)
        ]
        yield from found
        if found:
            return
    yield from _overlaps(instances[0], places)


def named(registers: Iterable[Register]) -> tuple[AddressRange, ...]:
    """All addresses that `registers` lie on, in order, as ranges that do not touch each other."""
    merged: list[Span] = []
    for function, first, end in sorted(register.span_of(one) for register in registers for one in register.numbers):
        if merged and merged[-1][0] == function and first <= merged[-1][2]:
            merged[-1] = (function, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((function, first, end))
    return tuple(
        AddressRange.model_construct(function=function, first=first, last=end - 1) for function, first, end in merged
    )


def _of_register(place: Loc, register: Register, limits: Limits, known: tuple[AddressRange, ...]) -> Iterator[Finding]:
    reach = [one for one in register.numbers if not 0 <= one.address <= 65_536 - one.type.registers]
    if reach:
        yield place, f"all addresses from 0 to 65535, stride and instances lead to {reach[0].address}"
        return
    try:
        spans = [register.span(), *(register.span_of(one) for one in register.constants)]
    except ValueError as error:
        yield place, str(error)
        return
    for span in spans:
        text = _unreadable(span, limits, known)
        if text is not None:
            yield (*place, "type") if register.type is not None and len(spans) == 1 else place, text


def _unreadable(span: Span, limits: Limits, known: tuple[AddressRange, ...]) -> str | None:
    function, first, end = span
    if end - first > limits.most(function):
        return f"a value of at most {limits.most(function)} registers (limits.max_registers)"
    for one in limits.forbidden:
        if one.function == function and one.first < end and one.last >= first:
            return f"no address that limits.forbidden names, {one.first} to {one.last}"
    if limits.refuses_holes and not any(
        one.function == function and one.first <= first and end - 1 <= one.last for one in known
    ):
        return "no hole between what is read together (limits.refuses_holes); what never changes can be constant: true"
    return None


def _overlaps(registers: Sequence[Register], places: Sequence[Loc]) -> Iterator[Finding]:
    """Two numbers may lie on the very same registers, or take bits out of each other; all else is a mistake."""
    placed = sorted(
        (
            (register.span_of(one), place, one.counted is not None)
            for place, register in zip(places, registers, strict=True)
            for one in register.numbers
        ),
        key=lambda item: item[0],
    )
    for (one, _, one_masked), (other, place, other_masked) in pairwise(placed):
        apart = one == other or one[0] != other[0] or other[1] >= one[2]
        if not (apart or one_masked or other_masked):
            yield place, f"registers of its own, {other[1]} to {other[2] - 1} overlap with {one[1]} to {one[2] - 1}"
