"""Calendars from files: presets that ship (YAML), tables (CSV) and calendars of other programs (ICS). Pure but presets.

CSV has the columns day, kind and name in its first line; kind is work, rest, holiday or critical. Of ICS every event
of whole days counts; one whose name says that people work (上班, 补班, "work day") is a working day, others holidays.
"""

import csv
import io
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Final, get_args

from pydantic import BaseModel, ConfigDict, Field

import cloud
from cloud.estate.calendar import CalendarDay
from cloud.kit.calendars import DayType
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.yaml_files import load_yaml

PRESETS: Final = Path(cloud.__file__).parents[1] / "firmware-config" / "calendars"
MOST_DAYS: Final = 1_500
MOST_BYTES: Final = 500_000
_MOST_NAME: Final = 100
_WORKED: Final = re.compile(r"上班|补班|補班|work(ing)? ?day", re.IGNORECASE)
_BREAK: Final = re.compile(r"\r?\n[ \t]")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PresetDay(_Strict):
    """One day of a preset."""

    day: date
    kind: DayType
    name: Annotated[str, Field(max_length=_MOST_NAME)] = ""


class Preset(_Strict):
    """A calendar that ships, with the announcement it follows."""

    source: str
    days: Annotated[list[PresetDay], Field(max_length=MOST_DAYS)]

    @property
    def calendar(self) -> list[CalendarDay]:
        """Its days."""
        return [CalendarDay(one.day, one.kind, one.name) for one in self.days]


def presets() -> list[str]:
    """Names of the calendars that ship."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset(name: str) -> list[CalendarDay]:
    """The days of a calendar that ships. Raises NotFound."""
    if name not in presets():
        raise NotFound("no-such-preset", f"there is no calendar {name}; there are {', '.join(presets())}")
    return load_yaml(PRESETS / f"{name}.yaml", Preset).calendar


def read_calendar(text: str) -> list[CalendarDay]:
    """The days of a CSV or ICS text, in order. Raises InvalidInput naming the line, or an empty or too large file."""
    days = list(_ics(text) if text.lstrip("\ufeff \r\n").startswith("BEGIN:VCALENDAR") else _csv(text))
    if not days or len(days) > MOST_DAYS:
        raise InvalidInput("bad-calendar", f"expected 1 to {MOST_DAYS} days, found {len(days)}", field="file")
    if len({one.day for one in days}) != len(days):
        raise InvalidInput("bad-calendar", "expected each day once", field="file")
    return sorted(days, key=lambda one: one.day)


def _csv(text: str) -> Iterator[CalendarDay]:
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    if not {"day", "kind"} <= set(reader.fieldnames or ()):
        raise InvalidInput("bad-calendar", "expected the columns day, kind and name", field="file")
    for row in reader:
        line = reader.line_num
        yield CalendarDay(_day(row["day"] or "", line), _kind(row["kind"] or "", line), _name(row.get("name")))


def _kind(text: str, line: int) -> DayType:
    for kind in get_args(DayType):
        if text.strip() == kind:
            found: DayType = kind
            return found
    wanted = ", ".join(get_args(DayType))
    raise InvalidInput("bad-calendar", f"line {line}: expected one of {wanted}, found {text!r}", field="file")


def _day(text: str, line: int) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInput("bad-calendar", f"line {line}: expected a day, found {text!r}", field="file") from error


def _name(text: str | None) -> str:
    return (text or "").replace("\0", "").strip()[:_MOST_NAME]


def _ics(text: str) -> Iterator[CalendarDay]:
    event: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(_BREAK.sub("", text).splitlines(), 1):
        name, _, value = line.partition(":")
        key = name.partition(";")[0].upper()
        if line.strip() == "BEGIN:VEVENT":
            event = {}
        elif line.strip() == "END:VEVENT":
            yield from _of_event(event, number)
        elif key in ("DTSTART", "DTEND", "SUMMARY", "RRULE"):
            event[key] = (value.strip(), number)


def _of_event(event: dict[str, tuple[str, int]], number: int) -> Iterator[CalendarDay]:
    if "RRULE" in event:
        raise InvalidInput("bad-calendar", f"line {event['RRULE'][1]}: repeated events are not read", field="file")
    start, line = event.get("DTSTART", ("", number))
    day = _day(start[:8], line)
    end = _day(event["DTEND"][0][:8], event["DTEND"][1]) if "DTEND" in event else day + timedelta(days=1)
    if not 0 < (end - day).days <= MOST_DAYS:
        raise InvalidInput("bad-calendar", f"line {line}: an event ends after it begins", field="file")
    name = _name(event.get("SUMMARY", ("", 0))[0].replace("\\,", ","))
    kind: DayType = "work" if _WORKED.search(name) else "holiday"
    while day < end:
        yield CalendarDay(day, kind, name)
        day += timedelta(days=1)
