"""Which registers of a meter count what in each price period, and what their advances make of it. Pure.

DL/T 645 calls the registers of an electricity meter by tariff: T1 sharp, T2 peak, T3 flat, T4 valley, T5 deep valley
where there is one; tariff 0 is the total. Some meters count the sharp hours in the peak register too, some leave them
out of the total: a map says both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from cloud.tariffs.model.problems import Wrong
from cloud.tariffs.model.values import Code, Strict

Source = Literal["intervals", "registers"]
"""Where usage by price period comes from: the meter's intervals by the hours of the tariff, or its own registers."""

Register = Literal["total", "sharp", "peak", "flat", "valley", "deep_valley"]
PARTS: Final[tuple[Register, ...]] = ("sharp", "peak", "flat", "valley", "deep_valley")
"""The registers of periods in the order of their tariff numbers, T1 to T5."""

Term = Annotated[str, Field(pattern=r"^-?(total|sharp|peak|flat|valley|deep_valley)$", examples=["peak", "-sharp"])]

_USUAL: Final[Mapping[str, Register]] = {
    **{name: name for name in PARTS},
    **{f"t{number}": name for number, name in enumerate(PARTS, 1)},
    "shoulder": "flat",
}
"""Codes of periods that say by themselves which register counts them."""


class RegisterMap(Strict):
    """Which registers make up each price period.

    `sharp: [sharp]`, `peak: [peak, "-sharp"]` for a peak register that counts the sharp hours too.
    """

    periods: dict[Code, tuple[Term, ...]] = Field(
        min_length=1,
        max_length=8,
        description="Period → registers that are added and, with a minus, taken off.",
        examples=[{"sharp": ["sharp"], "peak": ["peak", "-sharp"], "flat": ["flat"], "valley": ["valley"]}],
    )
    beside_total: tuple[Register, ...] = Field(
        default=(), max_length=5, description="Registers whose energy the total register leaves out."
    )

    @model_validator(mode="after")
    def _counts_everything_once(self) -> Self:
        for period, terms in self.periods.items():
            names = [name for name, _ in signed(terms)]
            if not names or len(set(names)) != len(names):
                raise Wrong("register-terms", "periods", period)
        for name, count in self.times.items():
            if count not in (0, 1):
                raise Wrong("register-twice", "periods", found=name)
        if len(set(self.beside_total)) != len(self.beside_total) or "total" in self.beside_total:
            raise Wrong("register-beside", "beside_total")
        return self

    @property
    def times(self) -> dict[str, int]:
        """How many times each register counts in all periods together; 0: only to tell two periods apart."""
        found: dict[str, int] = {}
        for terms in self.periods.values():
            for name, sign in signed(terms):
                found[name] = found.get(name, 0) + sign
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The registers beside the total that have to be read, in the order of their numbers."""
        needed = {*self.times, *self.beside_total}
        return tuple(name for name in PARTS if name in needed)

    @property
    def plain(self) -> bool:
        """Whether the periods are registers of their own that make up the total: what validation takes for granted."""
        return not self.beside_total and "total" not in self.times and all(self.times.values())


def signed(terms: Iterable[str]) -> list[tuple[str, int]]:
    """Names of registers with +1 or -1."""
    return [(term.removeprefix("-"), -1 if term.startswith("-") else 1) for term in terms]


def usual_map(codes: Sequence[str]) -> RegisterMap | None:
    """The map that the codes of the periods say by themselves (sharp, t1 …); None where one does not."""
    found = {code: _USUAL.get(code.replace("-", "_")) for code in codes}
    if None in found.values() or len(set(found.values())) != len(codes):
        return None
    return RegisterMap(periods={code: (name,) for code, name in found.items() if name is not None})


@dataclass(frozen=True, slots=True)
class ByRegisters:
    """Usage by price period, in the order of the map. Adds up to what the meter counted.

    `remainder`: what the total counted beyond all registers of periods (below 0: short of them), charged in the period
    `remainder_in`, the one with the largest quantity.
    """

    quantities: tuple[tuple[str, int], ...]
    remainder: int
    remainder_in: str | None


def by_period(wanted: RegisterMap, advances: Mapping[str, int]) -> dict[str, int]:
    """What the registers say of each period. `advances`: by name of the register, `total` among them if it is named."""
    return {
        period: sum(sign * advances[name] for name, sign in signed(terms)) for period, terms in wanted.periods.items()
    }


def spread(quantities: Mapping[str, int], total: int) -> ByRegisters:
    """Usage by period that adds up to `total`: the remainder goes to the period with the largest quantity, the first
    of equal ones. Raises ValueError where a period would be negative."""
    remainder = total - sum(quantities.values())
    largest = max(quantities, key=lambda period: quantities[period])
    charged = dict(quantities)
    charged[largest] += remainder
    if min(charged.values()) < 0:
        raise ValueError("less than nothing was used in a period")
    return ByRegisters(tuple(charged.items()), remainder, largest if remainder else None)
