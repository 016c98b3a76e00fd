"""What a lane tells of a vehicle, from what its device told. Pure."""

import uuid
from typing import Final

import msgspec

from gateway.contract.limits import MAX_PLATE_CHARS
from gateway.contract.messages import Outcome, Passage
from gateway.drivers.barrier.credible import Believed
from gateway.drivers.barrier.events import Passed, Recognised
from gateway.drivers.barrier.settings import LaneSettings

_PASSAGE_NAMESPACE: Final = uuid.UUID("6f1b6bd2-5d7e-5c0f-9a8e-2f5b1d6c7a34")
_CLOCK_NOT_BELIEVED: Final = "device-clock"
"""Told afterwards with a time that cannot be: it happened at some time before `taken_at`."""


def arrived(lane: LaneSettings, event: Recognised, plate: str, when: Believed, *, pictured: bool) -> Passage:
    """A vehicle stands there; `pictured` when a picture of it is, or will be, kept here."""
    # The same recognition told twice is the same passage, also over a restart.
    passage_id = str(uuid.uuid5(_PASSAGE_NAMESPACE, f"{lane.sn}/{event.id}/{event.taken_at}"))
    return Passage(
        id=passage_id,
        device=lane.device,
        plate=plate,
        taken_at=when.at,
        outcome=Outcome.ARRIVED,
        direction=lane.direction,
        vehicle_class=event.vehicle_class,
        score=event.score,
        plate_read=_as_read(event, plate),
        offline=when.offline,
        image=event.image or (passage_id if pictured else ""),
        decision=_CLOCK_NOT_BELIEVED if when.offline and not when.is_good else "",
    )


def named(passage: Passage, event: Recognised, plate: str) -> Passage:
    """A passage whose plate was not read at first."""
    return msgspec.structs.replace(passage, plate=plate, plate_read=_as_read(event, plate))


def unrecognised(lane: LaneSettings, event: Passed, when: Believed) -> Passage:
    """Somebody went through whom no camera saw: tailgating, or a barrier opened by hand."""
    return Passage(
        id=str(uuid.uuid5(_PASSAGE_NAMESPACE, f"{lane.sn}/passed/{event.id}/{event.taken_at}")),
        device=lane.device,
        plate="",
        taken_at=when.at,
        outcome=Outcome.PASSED,
        direction=lane.direction,
        offline=when.offline,
        decision="unrecognised",
    )


def _as_read(event: Recognised, plate: str) -> str:
    """As the camera read it, when it differs; of one that is over-long, the beginning."""
    return event.plate[:MAX_PLATE_CHARS] if event.plate != plate else ""
