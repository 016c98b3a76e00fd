"""Tables of readings: their columns by name, and numbers and times as people write them. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

from cloud.kit.errors import InvalidInput
from cloud.kit.tables import Table, columns_of, header_of, lines_of, rows_of, seen_in

MAX_ROWS: Final = 2_000_000

_MAX_CELL: Final = 200
_MAX_DIGITS: Final = 28
"""Of a number as text: as many as Decimal works with before it rounds."""
_NAMES: Final = {
    "meter": ("meter", "meter code", "code", "表号", "仪表编号", "表计编号", "仪表", "电表", "水表"),
    "serial": ("serial", "serial number", "出厂编号", "表计序列号", "序列号"),
    "time": (
        "time", "date", "datetime", "taken at", "read at", "reading datetime", "timestamp", "时间", "日期", "抄表时间",
        "抄表日期", "读数时间",
    ),
    "end": ("end", "until", "end time", "结束时间", "截止时间"),
    "length": ("length s", "seconds", "interval s", "时长", "时长秒", "间隔秒"),
    "value": (
        "value", "reading", "register", "读数", "示数", "表底", "数值", "energy", "usage", "consumption", "volume",
        "general supply kwh", "用量", "电量", "用电量", "水量", "用水量", "热量",
    ),
    "unit": ("unit", "单位"),
    "channel": ("channel", "通道", "数据项"),
    "quality": ("quality", "质量", "质量标志"),
}  # fmt: skip
_COLUMN_OF: Final = {name: column for column, names in _NAMES.items() for name in names}

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?P<sep>[,.])\d{3}((?P=sep)\d{3})*", re.ASCII)
_DAY: Final = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})", re.ASCII),
    re.compile(r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})", re.ASCII),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})", re.ASCII),
    re.compile(r"(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日", re.ASCII),
)
_TIME: Final = re.compile(
    r"[T\s]*(?P<h>\d{1,2}):(?P<min>\d{2})(:(?P<s>\d{2})(\.\d{1,6})?)?\s*(?P<zone>Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)


def read_table(content: bytes, max_rows: int = MAX_ROWS) -> Table:
    """The table in a CSV or XLSX file. Which of both it is, its encoding and separator are found from the content.

    Raises InvalidInput: too large, no text, a header without meter, time and value (the detail says what was found).
    """
    lines = lines_of(content)
    header = header_of(lines)
    names = names_of(header)
    return Table(tuple(header), tuple(names), rows_of(lines, names, max_rows))


def names_of(cells: Sequence[str]) -> list[str]:
    """Our name of each column of a header, empty for those that are not read. Raises InvalidInput."""
    found = columns_of(cells, _COLUMN_OF)
    missing = [name for name in ("time", "value") if name not in found]
    if "meter" not in found and "serial" not in found:
        missing.insert(0, "meter or serial")
    if missing:
        raise InvalidInput(
            "bad-header",
            f"expected columns for {', '.join(missing)}; the first line has: {seen_in(cells)}",
            field="file",
        )
    return found


def number(text: str) -> Decimal:
    """A number as people write it. Raises InvalidInput, also for a comma that could mean either thing."""
    if len(text) > _MAX_DIGITS:
        raise InvalidInput("bad-value", f"expected at most {_MAX_DIGITS} characters", field="value")
    plain = _with_point(text.strip().replace("\N{MINUS SIGN}", "-"))
    if not _NUMBER.fullmatch(plain):
        raise InvalidInput("bad-value", f"expected a number, found {text[:40]!r}", field="value")
    try:
        return Decimal(plain)
    except InvalidOperation as error:
        raise InvalidInput("bad-value", f"expected a number, found {text[:40]!r}", field="value") from error


def _with_point(text: str) -> str:
    """`1,5` and `1.234,5` are decimal commas, `1,234.5` is grouped; `1,234` could be either and is refused."""
    if "," not in text:
        if text.count(".") > 1 and _GROUPED.fullmatch(text):
            return text.replace(".", "")
        return text
    whole, last, _ = text.rpartition(max(",.", key=text.rfind))
    other = "." if last == "," else ","
    if other in whole:
        return _ungrouped(text, decimal=last, group=other)
    if text.count(",") > 1 and _GROUPED.fullmatch(text):
        return text.replace(",", "")
    if _GROUPED.fullmatch(text):
        raise InvalidInput("ambiguous-value", f"expected a decimal point: {text} could be two numbers", field="value")
    return text.replace(",", ".")


def _ungrouped(text: str, *, decimal: str, group: str) -> str:
    """Without the separators of thousands when they stand where they should; else the text, which is no number."""
    whole, _, rest = text.rpartition(decimal)
    return f"{whole.replace(group, '')}.{rest}" if _GROUPED.fullmatch(whole) else text


def instant(text: str, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a local time, date (midnight), or time with offset.

    Raises InvalidInput: no time, before 1990, a local time that the clocks skip or show twice.
    """
    local, offset = _local(text.strip()[:_MAX_CELL])
    if offset is not None:
        return _after_1990(local.replace(tzinfo=UTC) - offset, text)
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        code, what = (
            ("ambiguous-time", "happens twice")
            if (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta())
            else ("skipped-time", "does not exist")
        )
        raise InvalidInput(
            code,
            f"expected a time with its offset: {text[:40]} {what} in {zone.key}, where clocks change",
            field="time",
        )
    return _after_1990(first.astimezone(UTC), text)


def _after_1990(at: datetime, text: str) -> datetime:
    if at < _EARLIEST:
        raise InvalidInput("bad-time", f"expected a time after 1990, found {text[:40]!r}", field="time")
    return at


def _local(text: str) -> tuple[datetime, timedelta | None]:
    bad = InvalidInput(
        "bad-time",
        f"expected 2026-01-31 08:00, 2026/1/31, 31.01.2026 or 2026年1月31日, found {text[:40]!r}",
        field="time",
    )
    day = next((match for pattern in _DAY if (match := pattern.match(text))), None)
    if day is None:
        raise bad
    rest = text[day.end() :].strip()
    clock = _TIME.fullmatch(rest) if rest else None
    if rest and clock is None:
        raise bad
    try:
        hour, minute, second = (int(clock[part] or 0) if clock else 0 for part in ("h", "min", "s"))
        # A wall clock: its zone is looked up by the caller.
        local = datetime(int(day["y"]), int(day["m"]), int(day["d"]), hour, minute, second)  # noqa: DTZ001
        # Far from the ends of what Python can hold: an offset may be added.
        if not 1900 <= local.year <= 2199:
            raise bad
        return local, _offset(clock["zone"]) if clock and clock["zone"] else None
    except ValueError as error:
        raise bad from error


def _offset(text: str) -> timedelta:
    if text == "Z":
        return timedelta()
    size = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return -size if text[0] == "-" else size
