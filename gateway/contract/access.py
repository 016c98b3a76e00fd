"""What a gateway is told of vehicles, so that its lanes decide without the cloud: signed, numbered, in deltas.

The cloud numbers the changes of what concerns one gateway. A message brings the gateway from `base` to `number`; one
with base 0 is everything there is and replaces what was known before. A change that does not fit into one message comes
in `parts`, which take effect together. The gateway tells in its health report which number it holds.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.contract import limits
from gateway.contract.errors import ContractError
from gateway.contract.messages import Code, CodeOrAll, Count, Plate, Seq, Text, TimeMs, UuidText, Wire

Key = Annotated[str, Meta(min_length=1, max_length=limits.MAX_CODE_CHARS)]
"""How the cloud calls an entry among those of its kind."""
VehiclePlate = Annotated[str, Meta(min_length=1, max_length=limits.MAX_PLATE_CHARS)]
LotCodes = Annotated[tuple[Code, ...], Meta(max_length=limits.MAX_LOTS)]
_BYTES_OF_ENTRIES: Final = limits.MAX_WIRE_BYTES - 4_096
"""What is left of a message beside its frame."""
TimeOrNone = Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)]


class Listing(StrEnum):
    """What a list says of a plate."""

    BLACK = "black"
    """May not enter."""
    WHITE = "white"
    """Goes in and out, always."""
    OWING = "owing"
    """Left without paying: at an exit only the cloud knows what is due."""


class ListEntry(Wire, frozen=True, tag="list"):
    """One plate on one list from `since` up to, not including, `until`; `lot` empty for all of them."""

    key: Key
    plate: VehiclePlate
    listing: Listing
    lot: CodeOrAll = ""
    until: TimeOrNone = 0
    """0 for ever."""
    since: TimeOrNone = 0


class PermitEntry(Wire, frozen=True, tag="permit"):
    """A monthly card, an owner's space, staff: several plates may share fewer `spaces` (0: as many as there are)."""

    key: Key
    plates: Annotated[tuple[VehiclePlate, ...], Meta(min_length=1, max_length=limits.MAX_PLATES_OF_PERMIT)]
    valid_from: TimeOrNone
    valid_to: TimeMs
    """The first moment at which it is not valid any more."""
    grace_ms: Count = 0
    """How long after `valid_to` it is still honoured."""
    spaces: Count = 0
    lots: LotCodes = ()
    """Empty for all lots of the gateway."""
    vehicle_class: CodeOrAll = ""
    """Vehicles of this class alone; empty for any."""


class ReservationEntry(Wire, frozen=True, tag="reservation"):
    """A place that is held for a vehicle which comes between `since` and `until`."""

    key: Key
    plate: VehiclePlate
    lot: Code
    since: TimeOrNone
    until: TimeMs


class LotEntry(Wire, frozen=True, tag="lot"):
    """What holds in a lot for one class of vehicles, or, with an empty class, for all of them together."""

    key: Key
    lot: Code
    vehicle_class: CodeOrAll = ""
    capacity: Annotated[int, Meta(ge=-1, le=limits.MAX_VALUE)] = -1
    """Vehicles that find room; -1 when nobody counts."""
    free_ms: Count = 0
    """A first stay of the day up to this long certainly costs nothing. 0 when only the cloud can tell."""
    kept: Count = 0
    """Spaces of the lot that are for this class alone; it may take others besides."""
    closed: bool = False
    """Nobody may enter now but who is on the white list."""


class StayEntry(Wire, frozen=True, tag="stay"):
    """A vehicle that is inside. `key` is the id of the passage by which it came in."""

    key: UuidText
    plate: Plate
    lot: Code
    vehicle_class: Code
    entered_at: TimeMs
    paid_until: TimeOrNone = 0
    """Up to here nothing more is due: paid, waived or covered. 0 when nothing of that kind is known."""
    covered: bool = False
    """It takes one of the spaces of its permit."""


class GoneEntry(Wire, frozen=True, tag="gone"):
    """An entry that is no more: of a stay, that the vehicle left."""

    kind: Annotated[str, Meta(pattern=r"^(list|permit|reservation|lot|stay)\Z")]
    key: Key


AccessEntry = ListEntry | PermitEntry | ReservationEntry | LotEntry | StayEntry | GoneEntry
Parts = Annotated[int, Meta(ge=1, le=limits.MAX_ACCESS_PARTS)]


class AccessUpdate(Wire, frozen=True):
    """One step of what a gateway knows of vehicles, signed by the cloud."""

    version: int
    project: Code
    gateway: Code
    base: Count
    number: Seq
    part: Parts
    parts: Parts
    issued_at: TimeMs
    entries: Annotated[tuple[AccessEntry, ...], Meta(max_length=limits.MAX_ACCESS_ENTRIES)]
    actor: Text
    key_id: Code
    signature: Annotated[str, Meta(max_length=128)] = ""
    """Ed25519 over `signed_access`, in base64."""


def signed_access(update: AccessUpdate) -> bytes:
    """The bytes that a signature covers: the message itself with an empty signature.

    The first line keeps a signature of one kind of message from being taken for that of another kind.
    """
    bare = msgspec.structs.replace(update, signature="")
    return b"gatemeter-access-v1\n" + msgspec.json.encode(bare, order="deterministic")


def in_parts(update: AccessUpdate, entries: Iterable[AccessEntry]) -> list[AccessUpdate]:
    """As many messages like `update` as its `entries` need, unsigned; at least one, which may be empty.

    Each keeps the limits of a message, also when nothing can be compressed. Raises ContractError (`too-large`) when
    there are more entries than a change may have.
    """
    groups: list[list[AccessEntry]] = [[]]
    size = 0
    for entry in entries:
        length = len(msgspec.json.encode(entry)) + 1
        if len(groups[-1]) == limits.MAX_ACCESS_ENTRIES or size + length > _BYTES_OF_ENTRIES:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += length
    if len(groups) > limits.MAX_ACCESS_PARTS:
        raise ContractError("too-large", f"{len(groups)} parts, at most {limits.MAX_ACCESS_PARTS}")
    return [
        msgspec.structs.replace(update, part=part, parts=len(groups), entries=tuple(group), signature="")
        for part, group in enumerate(groups, start=1)
    ]
