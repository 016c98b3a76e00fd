"""What a gateway is told of vehicles, so that its lanes decide without the cloud: signed, numbered, in deltas.

The cloud numbers the changes of what concerns one gateway. A message brings the gateway from `base` to `number`; one
with base 0 is everything there is and replaces what was known before. A change that does not fit into one message comes
in `parts`, which take effect together. The gateway tells in its health report which number it holds.

A gateway keeps entries as they were sent and goes by those that it can read: one of a kind, or with a condition in
`needs`, that it does not know neither opens nor refuses anything, and is read when its software is newer.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.contract import limits
from gateway.contract.errors import ContractError
from gateway.contract.messages import Code, CodeOrAll, Count, Plate, Seq, Signature, Text, TimeMs, UuidText, Wire

Key = Annotated[str, Meta(min_length=1, max_length=limits.MAX_CODE_CHARS)]
"""How the cloud calls an entry among those of its kind."""
VehiclePlate = Annotated[str, Meta(min_length=1, max_length=limits.MAX_PLATE_CHARS)]
LotCodes = Annotated[tuple[Code, ...], Meta(max_length=limits.MAX_LOTS)]
_BYTES_OF_ENTRIES: Final = limits.MAX_WIRE_BYTES - 4_096
"""What is left of a message beside its frame."""
TimeOrNone = Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)]
Needs = Annotated[tuple[Code, ...], Meta(max_length=limits.MAX_NEEDS)]
"""Conditions that whoever goes by the entry has to know. What takes something away from what the entry gives is one;
a field that is not named here may be ignored."""

NEEDS_LANES: Final = "lanes"
"""Of a permit: it holds only for who comes in by one of its `lanes`."""
KNOWN_NEEDS: Final[frozenset[str]] = frozenset({NEEDS_LANES})
"""Conditions that this software keeps."""

OPENED_BY_LANE: Final = frozenset({"whitelist", "permit", "permit-grace", "reservation", "temporary", "paid", "free"})
"""Decisions by which a lane opens by itself, whatever its policy."""


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
    needs: Needs = ()


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
    needs: Needs = ()
    lanes: Annotated[tuple[Code, ...], Meta(max_length=limits.MAX_LANES_OF_PERMIT)] = ()
    """With `lanes` in `needs`: devices of this gateway's entries by one of which a vehicle has to come in, or none."""


class ReservationEntry(Wire, frozen=True, tag="reservation"):
    """A place that is held for a vehicle which comes between `since` and `until`."""

    key: Key
    plate: VehiclePlate
    lot: Code
    since: TimeOrNone
    until: TimeMs
    needs: Needs = ()


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
    needs: Needs = ()


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
    needs: Needs = ()


class GoneEntry(Wire, frozen=True, tag="gone"):
    """An entry that is no more, whatever kind it is of; of a stay it says that the vehicle left."""

    kind: Code
    key: Key


AccessEntry = ListEntry | PermitEntry | ReservationEntry | LotEntry | StayEntry | GoneEntry


class UnreadEntry(msgspec.Struct, frozen=True):
    """An entry in words that this software does not know: of whom or what it speaks, by the texts in it."""

    kind: str
    key: str
    names: frozenset[str]


class _EntryHead(Wire, frozen=True):
    """What is read of an entry of any kind."""

    kind: Code
    key: Key


_entry: Final[msgspec.json.Decoder[AccessEntry]] = msgspec.json.Decoder(AccessEntry)
_head: Final = msgspec.json.Decoder(_EntryHead)
_anything: Final = msgspec.json.Decoder()
_encode: Final = msgspec.json.Encoder().encode


def read_entry(body: bytes | msgspec.Raw) -> AccessEntry | UnreadEntry:
    """An entry as it was sent. Raises ContractError (`bad-schema`) when not even its kind and key can be read."""
    try:
        entry = _entry.decode(body)
    except msgspec.ValidationError as error:
        return _unread(body, error)
    needs = () if isinstance(entry, GoneEntry) else entry.needs
    return entry if KNOWN_NEEDS.issuperset(needs) else _unread(body)


def entry_name(entry: AccessEntry | UnreadEntry) -> tuple[str, str]:
    """Kind and key; of what is gone, those of the entry that there was."""
    kind = entry.kind if isinstance(entry, GoneEntry | UnreadEntry) else str(entry.__struct_config__.tag)
    return kind, entry.key


def _unread(body: bytes | msgspec.Raw, why: Exception | None = None) -> UnreadEntry:
    try:
        head = _head.decode(body)
    except msgspec.ValidationError as error:
        raise ContractError("bad-schema", f"an entry without kind and key: {error}") from error
    if head.kind == GoneEntry.__struct_config__.tag:  # what is no more has to be known
        raise ContractError("bad-schema", str(why)) from why
    return UnreadEntry(head.kind, head.key, frozenset(_texts(_anything.decode(body))))


def _texts(value: object) -> Iterator[str]:
    """All texts of a value from a message, which nests no deeper than the limit."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


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
    entries: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=limits.MAX_ACCESS_ENTRIES)]
    """As `as_sent` makes them and `read_entry` reads them."""
    actor: Text
    key_id: Code
    signature: Signature = ""
    """Ed25519 over what `signing` says, in base64."""


def as_sent(entry: AccessEntry) -> msgspec.Raw:
    """An entry as a part of a message."""
    return msgspec.Raw(_encode(entry))


def in_parts(update: AccessUpdate, entries: Iterable[AccessEntry]) -> list[AccessUpdate]:
    """As many messages like `update` as its `entries` need, unsigned; at least one, which may be empty.

    Each keeps the limits of a message, also when nothing can be compressed. Raises ContractError (`too-large`) when
    there are more entries than a change may have.
    """
    groups: list[list[msgspec.Raw]] = [[]]
    size = 0
    for entry in map(as_sent, entries):
        length = len(bytes(entry)) + 1
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
