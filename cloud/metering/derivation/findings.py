"""What a derivation found wrong: refused readings, missing slots, exchanges without a reading."""

from typing import Final

import numpy as np

from cloud.kit.columns import Int2Column, TimeColumn
from cloud.kit.db import Conn
from cloud.metering.checks.findings import Finding, Looked, replace_findings
from cloud.metering.derivation import sql
from cloud.metering.derivation.bounds import END, Bounds
from cloud.metering.derivation.judging import BACKWARD, CLOCK, IGNORED, NEGATIVE, RESTART, SPIKE, Epochs
from cloud.metering.derivation.reads import Registers
from cloud.metering.derivation.usage import Derived
from cloud.metering.records import Rule

RULE_OF_CODE: Final[dict[int, Rule]] = {BACKWARD: "backward", SPIKE: "maximum", CLOCK: "clock", NEGATIVE: "negative"}
"""The rule that refuses a reading, by its code; what staff told to ignore is refused by none."""


async def write_findings(conn: Conn, registers: Registers, epochs: Epochs, bounds: Bounds, derived: Derived) -> int:
    """Keeps what was refused and found where the derivation looked; returns how many readings are refused there."""
    refused = await _write_refused(conn, registers, bounds, derived)
    found = {(one.meter_id, one.channel, one.rule, one.from_ms): one for one in refused}
    for one in _exchanges(registers, epochs, bounds, derived):
        found.setdefault((one.meter_id, one.channel, one.rule, one.from_ms), one)
    thresholds = dict(zip(registers.meter.tolist(), registers.thresholds, strict=True))
    told = [one for one in found.values() if thresholds[one.meter_id].weight(one.rule) != "off"]
    rules: list[Rule] = [*RULE_OF_CODE.values(), "exchange"]
    looked = Looked(registers.meter, registers.channel, bounds.judged_from, bounds.read_until + 1)
    await replace_findings(conn, rules, looked, told)
    looked = Looked(registers.meter, registers.channel, bounds.read_from, bounds.read_until)
    await replace_findings(conn, ["gap"], looked, _gaps(registers, bounds, derived))
    return len(refused)


async def _write_refused(conn: Conn, registers: Registers, bounds: Bounds, derived: Derived) -> list[Finding]:
    readings = derived.readings
    judged = ~derived.synthetic & (readings.time_ms >= bounds.judged_from[readings.series])
    where = np.flatnonzero(judged & (derived.codes >= BACKWARD))
    series, times, codes = readings.series[where], readings.time_ms[where], derived.codes[where]
    looked = {
        **registers.keys(), "from": TimeColumn(bounds.judged_from), "until": TimeColumn(bounds.read_until),
        "refused_meters": registers.keys(series)["meters"], "refused_channels": registers.keys(series)["channels"],
        "times": TimeColumn(times), "codes": Int2Column(codes.astype(np.int64)),
    }  # fmt: skip
    await conn.execute(sql.REPLACE_REFUSED, looked)
    shown = where[codes != IGNORED]
    return [
        Finding(
            int(registers.project[n]), int(registers.meter[n]), int(registers.channel[n]), RULE_OF_CODE[code], at, at,
            value,
        )
        for n, code, at, value in zip(
            readings.series[shown].tolist(), derived.codes[shown].tolist(), readings.time_ms[shown].tolist(),
            readings.value[shown].tolist(), strict=True,
        )
    ]  # fmt: skip


def _exchanges(registers: Registers, epochs: Epochs, bounds: Bounds, derived: Derived) -> list[Finding]:
    """Exchanges without the closing or the opening reading, and closing readings below the last one before."""
    readings = derived.readings
    below = np.flatnonzero(derived.synthetic & (derived.codes == RESTART))
    found = [(int(readings.series[n]), int(readings.time_ms[n]), int(readings.value[n])) for n in below.tolist()]
    later = np.flatnonzero(epochs.series[1:] == epochs.series[:-1]) + 1
    lacking = later[(epochs.closing[later - 1] < 0) | (epochs.opening[later] < 0)]
    found += [(int(epochs.series[n]), int(epochs.from_ms[n]), -1) for n in lacking.tolist()]
    return [
        Finding(
            int(registers.project[n]), int(registers.meter[n]), int(registers.channel[n]), "exchange", at, at,
            value if value >= 0 else None,
        )
        for n, at, value in found
        if bounds.judged_from[n] <= at <= bounds.read_until[n]
    ]  # fmt: skip


def _gaps(registers: Registers, bounds: Bounds, derived: Derived) -> list[Finding]:
    """V4: gaps that are longer than the thresholds of their meters let pass."""
    missing = derived.missing
    # No gap is as long as what a rule that is off lets pass.
    most = [END if one.weight("gap") == "off" else one.gap_slots for one in registers.thresholds]
    inside = (missing.from_ms < bounds.read_until[missing.series]) & (
        missing.slots > np.array(most, np.int64)[missing.series]
    )
    columns = (missing.series, missing.from_ms, missing.until_ms, missing.slots)
    return [
        Finding(int(registers.project[n]), int(registers.meter[n]), int(registers.channel[n]), "gap", begin, end, slots)
        for n, begin, end, slots in zip(*(column[inside].tolist() for column in columns), strict=True)
    ]
