"""Which values are told: those that left their dead band, and all at each heartbeat; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.contract.quantities import BY_CODE, Kind
from gateway.drivers.base import Reading
from gateway.templates.report import ReportSettings, band_of

DEFAULT_HEARTBEAT_S: Final = 900.0


class Band(NamedTuple):
    """How far a value may be from the one told last: `width / parts`, of that value if `relative`."""

    width: int
    parts: int = 1
    relative: bool = False

    def left(self, value: int, told: int) -> bool:
        """Whether `value` lies outside the band around `told`; exact."""
        bound = self.width * abs(told) if self.relative else self.width
        return abs(value - told) * self.parts > bound


_ON_CHANGE: Final = Band(0)


@dataclass(frozen=True, slots=True)
class ReportRules:
    """What holds for one device."""

    heartbeat_ms: int
    bands: dict[str, Band]
    """Of every channel that is not always told."""


def rules_of(settings: Iterable[ReportSettings | None]) -> ReportRules:
    """The rules that `settings` give together, the weakest first: template, site, device."""
    heartbeat_s = DEFAULT_HEARTBEAT_S
    bands = {code: _ON_CHANGE for code, quantity in BY_CODE.items() if quantity.kind is not Kind.CUMULATIVE}
    for one in settings:
        if one is None:
            continue
        heartbeat_s = one.heartbeat_s or heartbeat_s
        for channel, text in one.dead_bands.items():
            width, relative = band_of(channel, text)
            bands[channel] = Band(width.numerator, width.denominator, relative)
    return ReportRules(max(1, round(heartbeat_s * 1000)), bands)


class _Told(NamedTuple):
    value: int
    quality: int
    at_ms: int


class Reporter:
    """Remembers what was told of one device.

    Whoever holds each value until the next is told is never further from the truth than the dead band, and what he
    holds is never older than heartbeat and period together.
    """

    def __init__(self, rules: ReportRules) -> None:
        self._heartbeat_ms, self._bands = rules.heartbeat_ms, rules.bands
        self._told: dict[str, _Told] = {}

    def choose(self, readings: Sequence[Reading], flags: int, at_ms: int, everything: bool = False) -> list[Reading]:
        """Those of `readings`, taken at `at_ms`, that are to be told; all when `everything` is wanted.

        `flags` are quality flags that all of them get on top of their own.
        """
        chosen = []
        told = self._told
        for reading in readings:
            band = self._bands.get(reading.channel)
            if band is not None:
                last = told.get(reading.channel)
                quality = reading.quality | flags
                if not (everything or last is None or self._is_news(band, last, reading.value, quality, at_ms)):
                    continue
                told[reading.channel] = _Told(reading.value, quality, at_ms)
            chosen.append(reading)
        return chosen

    def _is_news(self, band: Band, last: _Told, value: int, quality: int, at_ms: int) -> bool:
        age_ms = at_ms - last.at_ms  # negative when the clock had been wrong and was set back
        return quality != last.quality or not 0 <= age_ms < self._heartbeat_ms or band.left(value, last.value)
