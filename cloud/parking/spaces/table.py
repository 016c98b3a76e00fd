"""Spaces from a table: CSV or XLSX with a column for the number, and others for place, class, state and owner. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.tables import TableRow, columns_of, header_of, lines_of, rows_of, seen_in
from cloud.parking.spaces.numbering import valid_number
from cloud.parking.spaces.records import MAX_PLACE, STATES, NewSpace, SpaceState

MAX_ROWS: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024

_NAMES: Final = {
    "number": ("number", "space", "space number", "车位号", "车位编号", "车位"),
    "place": ("place", "floor", "zone", "area", "楼层", "区域", "位置", "分区"),
    "vehicle_class": ("class", "vehicle class", "车型", "类型"),
    "state": ("state", "status", "状态"),
    "owner": ("owner", "owner name", "owner's name", "业主", "产权人", "车位业主", "业主姓名"),
    "since": ("owner since", "since", "起始日期", "开始日期", "产权日期"),
}
_COLUMN_OF: Final = {name: column for column, names in _NAMES.items() for name in names}
_STATE_OF: Final[dict[str, SpaceState]] = {
    **{state: state for state in STATES},
    "out of service": "out-of-service",
    "空闲": "free",
    "已售": "sold",
    "已租": "rented",
    "预留": "reserved",
    "停用": "out-of-service",
}


@dataclass(frozen=True, slots=True)
class Read:
    """One row of a table: the space that it describes, or why it describes none."""

    line: int
    number: str
    space: NewSpace | None
    refusal: GatemeterError | None = None
    owner: str = ""
    """Who owns it, as it was written."""
    since: date | None = None
    """From which day on."""


def read_spaces(content: bytes) -> Iterator[Read]:
    """The rows of a file one after the other. Raises InvalidInput for the file as a whole: no table, too many rows."""
    if len(content) > MAX_BYTES:
        raise InvalidInput("file-too-large", f"expected at most {MAX_BYTES} bytes", field="file")
    lines = lines_of(content)
    header = header_of(lines)
    names = columns_of(header, _COLUMN_OF)
    if "number" not in names:
        detail = f"expected a column for the number; the first line has: {seen_in(header)}"
        raise InvalidInput("bad-header", detail, field="file")
    seen: set[str] = set()
    for row in rows_of(lines, names, MAX_ROWS):
        yield _read(row, seen)


def _read(row: TableRow, seen: set[str]) -> Read:
    typed = row.cells.get("number", "")[:64]
    try:
        space, since = _space(row.cells), _day(row.cells.get("since", ""))
        if space.number in seen:
            raise InvalidInput("number-twice", f"{space.number} is in the file before", field="number")
    except InvalidInput as refusal:
        return Read(row.line, typed, None, refusal)
    seen.add(space.number)
    return Read(row.line, space.number, space, owner=row.cells.get("owner", "").strip(), since=since)


def _space(cells: dict[str, str]) -> NewSpace:
    place = cells.get("place", "")
    if len(place) > MAX_PLACE:
        raise InvalidInput("too-long", f"place: expected at most {MAX_PLACE} characters", field="place")
    word = cells.get("state", "").lower() or "free"
    if word not in _STATE_OF:
        raise InvalidInput("bad-state", f"expected one of {', '.join(STATES)}, found {word[:40]!r}", field="state")
    vehicle_class = cells.get("vehicle_class", "").lower() or "small"
    return NewSpace(valid_number(cells.get("number", "")), place, valid_class(vehicle_class), _STATE_OF[word])


def _day(text: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip()[:10].replace("/", "-"))
    except ValueError as error:
        detail = f"expected a day such as 2026-01-31, found {text[:40]!r}"
        raise InvalidInput("bad-date", detail, field="since") from error


def valid_class(text: str) -> str:
    """A class of vehicles as fee rules name it. Raises InvalidInput."""
    plain = text.replace("-", "")
    if not (text[:1].isalpha() and plain.isascii() and plain.isalnum() and text == text.lower() and len(text) <= 32):
        raise InvalidInput("bad-class", f"expected a class such as small or large, found {text[:40]!r}", field="class")
    return text
