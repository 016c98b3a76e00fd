"""Lots inside one another: time of a stay that another lot's stay prices, so that nothing is charged twice. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cloud.parking.stays.matching import LotRules, Stay, lots_around

InnerTime = Literal["paused", "included"]
"""What an outer lot does about time in a lot inside it: it charges none of it, or the inner lot charges none."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, not included; None while it goes on."""

    start: datetime
    end: datetime | None


def priced_elsewhere(
    stays: Sequence[Stay], lots: Mapping[int, LotRules], inner_time: Mapping[int, InnerTime]
) -> dict[int, tuple[Span, ...]]:
    """For each stay of one vehicle, by its place in `stays`, the spans in which it costs nothing.

    A stay in a lot that is `paused` is free while the vehicle is in a lot inside; while one in a lot that is `included`
    goes on, stays in lots inside are free. What is unmatched has no length that could be priced, and covers nothing.
    """
    found: dict[int, tuple[Span, ...]] = {}
    for index, stay in enumerate(stays):
        spans = [
            span
            for other in stays
            if other is not stay and _prices(other, stay, lots, inner_time)
            for span in _common(stay, other)
        ]
        if spans:
            found[index] = _joined(spans)
    return found


def _prices(other: Stay, stay: Stay, lots: Mapping[int, LotRules], inner_time: Mapping[int, InnerTime]) -> bool:
    """Whether the time that both have in common is priced by the other."""
    if other.plate != stay.plate or other.state == "unmatched":
        return False
    if stay.lot_id in lots_around(other.lot_id, lots):
        return inner_time.get(stay.lot_id, "paused") == "paused"
    return other.lot_id in lots_around(stay.lot_id, lots) and inner_time.get(other.lot_id, "paused") == "included"


def _common(stay: Stay, other: Stay) -> list[Span]:
    if stay.entered_at is None or other.entered_at is None:
        return []
    start = max(stay.entered_at, other.entered_at)
    ends = [left for left in (stay.left_at, other.left_at) if left is not None]
    end = min(ends, default=None)
    return [Span(start, end)] if end is None or start < end else []


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same time in spans that do not touch, in order."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        last = joined[-1] if joined else None
        if last is None or (last.end is not None and last.end < span.start):
            joined.append(span)
        elif last.end is not None:
            joined[-1] = Span(last.start, None if span.end is None else max(last.end, span.end))
    return tuple(joined)
