"""What forms about typed readings share: the picture that came along, the channels to choose from, the question."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from starlette.datastructures import UploadFile

from cloud.estate import service as estate
from cloud.identity.guards import Scope
from cloud.kit.periods import from_ms, in_ms
from cloud.metering.manual import photos
from cloud.metering.manual.service import ManualReading
from cloud.metering.readings import neighbours
from cloud.metering.readings.neighbours import Candidate, Doubt, Neighbour, Question, Side
from cloud.metering.readings.neighbours_repository import Around
from cloud.metering.records import Meter, belongs_to
from gateway.contract.quantities import BY_NUMBER, Kind, Quantity


@dataclass(frozen=True, slots=True)
class Stood:
    """Where the register stood when; `value` in the base unit."""

    taken_at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A value and its neighbours as a page shows them; `doubt` and `side` are None where it fits.

    `low` and `high`: what would be expected; None where nothing can be said.
    """

    quantity: Quantity
    value: int
    before: Stood | None
    after: Stood | None
    low: int | None
    high: int | None
    doubt: Doubt | None
    side: Side | None


def fit_of(meter: Meter, reading: ManualReading, around: Around, question: Question | None) -> Fit:
    """What a page shows of a reading that was looked at."""
    quantity = BY_NUMBER[reading.channel]
    low: int | None = None
    high: int | None = None
    if around.register is not None and neighbours.is_judged(quantity, meter) and (around.before or around.after):
        candidate = Candidate((), in_ms(reading.taken_at), reading.value, around.register, around.before, around.after)
        low, high = neighbours.expected(candidate)
    return Fit(
        quantity, reading.value, _stood(around.before), _stood(around.after), low, high,
        None if question is None else question.doubt, None if question is None else question.side,
    )  # fmt: skip


async def places_of(scope: Scope, meters: Iterable[Meter]) -> dict[int, str]:
    """Where these meters are, by id: their unit, else what was written down."""
    found = list(meters)
    units = await estate.units_by_id(scope.conn, {meter.unit_id for meter in found if meter.unit_id is not None})
    return {meter.id: units[meter.unit_id].label if meter.unit_id in units else meter.place for meter in found}


def channels_of(meter: Meter) -> list[Quantity]:
    """The registers that a meter of this medium can have, the one that is billed first."""
    main = meter.main_channel
    others = (one for one in BY_NUMBER.values() if one.kind is Kind.CUMULATIVE and belongs_to(one, meter.medium))
    return [main, *(one for one in others if one != main and one.unit != "s")]


async def photo_of(request: Request) -> bytes | None:
    """The picture that came with a form, None without one. Raises InvalidInput: too large, or no picture."""
    sent = (await request.form()).get("photo")
    if not isinstance(sent, UploadFile):
        return None
    content = await sent.read(photos.MAX_BYTES + 1)
    if not content:
        return None
    photos.content_type_of(content)
    return content


def _stood(neighbour: Neighbour | None) -> Stood | None:
    return None if neighbour is None else Stood(from_ms(neighbour.time_ms), neighbour.value)
