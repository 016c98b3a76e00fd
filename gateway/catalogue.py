"""The commands that show the supported devices: as a table, one by one, and as pages of the documentation."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.drivers.base import Group
from gateway.drivers.modbus.program import compile_template
from gateway.templates import words
from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.docs import MARK, pages, protocol_of
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate

_WIDE: Final = 240
"""Columns when nobody looks: a pipe must not break an id."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which templates to list; what is empty restricts nothing."""

    medium: str = ""
    protocol: str = ""
    vendor: str = ""
    text: tuple[str, ...] = ()
    """Each must occur somewhere in the id, the names, the notes or the channels."""

    def takes(self, template_id: str, template: DeviceTemplate) -> bool:
        """Whether a template is among them."""
        channels = " ".join(register.channel for register in template.registers)
        everything = f"{template_id} {template.vendor} {template.model} {template.notes} {channels}".lower()
        return (
            self.medium in ("", template.medium.value)
            and self.protocol in ("", template.protocol)
            and self.vendor.lower() in template.vendor.lower()
            and all(word.lower() in everything for word in self.text)
        )


def chosen(library: Library, wanted: Wanted) -> Iterator[tuple[str, DeviceTemplate]]:
    """Templates by id. Raises ConfigError."""
    for template_id in library.ids:
        template = library.meter(template_id)
        if wanted.takes(template_id, template):
            yield template_id, template


def rows(templates: Iterable[tuple[str, DeviceTemplate]]) -> list[dict[str, Any]]:
    """One row per template, for machines."""
    return [
        {
            "id": template_id,
            "vendor": template.vendor,
            "model": template.model,
            "medium": template.medium.value,
            "protocol": template.protocol,
            "proven": template.proven,
            "channels": [register.channel for register in template.registers],
        }
        for template_id, template in templates
    ]


def print_list(templates: Iterable[tuple[str, DeviceTemplate]]) -> None:
    """The same as a table, for people."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    for name in ("vendor", "model", "medium", "protocol", "proven"):
        table.add_column(name)
    table.add_column("channels", justify="right")
    for template_id, one in templates:
        count = str(len(one.registers))
        table.add_row(template_id, one.vendor, one.model, one.medium.value, protocol_of(one), one.proven, count)
    _print(table)


@singledispatch
def planned_reads(_template: DeviceTemplate) -> list[dict[str, int | str]]:
    """The requests of a full visit; none for a device that pushes."""
    return []


@planned_reads.register
def _(template: ModbusTemplate) -> list[dict[str, int | str]]:
    blocks = [one.block for one in compile_template(template).of(frozenset(Group))]
    return [{"function": one.function, "address": one.address, "count": one.count} for one in blocks]


@planned_reads.register(Dlt645Template)
@planned_reads.register(Cjt188Template)
def _(template: Dlt645Template | Cjt188Template) -> list[dict[str, int | str]]:
    return [{"item": item} for item in dict.fromkeys(register.id for register in template.registers)]


def as_json(template: DeviceTemplate) -> str:
    """The file's content and the requests of a full visit."""
    content = {**template.model_dump(mode="json"), "reads": planned_reads(template)}
    return json.dumps(content, ensure_ascii=False, indent=2)


def print_template(template: DeviceTemplate) -> None:
    """The same for people."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, text in _facts(template):
        if text:
            facts.add_row(label, Text(text))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("channel", no_wrap=True)
    table.add_column("where")
    table.add_column("one step")
    for register in template.registers:
        table.add_row(register.channel, words.place(register), words.meaning(register))
    _print(Text(f"{template.vendor} {template.model}", style="bold"), facts, "", table)


def _facts(template: DeviceTemplate) -> Iterator[tuple[str, str]]:
    yield "medium", template.medium.value
    yield "protocol", protocol_of(template)
    yield "proven", template.proven
    for source in template.sources:
        yield "source", f"{source.reference}: {source.covers}"
    yield "notes", template.notes.strip()
    yield "factory settings", words.connection(template)
    yield "order", words.order(template)
    yield "limits", words.limits(template)
    yield "abilities", words.abilities(template)
    for read in planned_reads(template):
        asked = (
            f"item {read['item']}" if "item" in read else "function {function}, {count} from {address}".format(**read)
        )
        yield "read", asked


def stale_pages(library: Library, directory: Path) -> dict[Path, str | None]:
    """Pages of the documentation whose file is missing or differs, with their text; None for one to be removed."""
    wanted = {directory / name: text for name, text in pages({one: library.meter(one) for one in library.ids}).items()}
    stale: dict[Path, str | None] = {path: text for path, text in wanted.items() if _content(path) != text}
    gone = [path for path in sorted(directory.glob("*.md")) if path not in wanted and _content(path).startswith(MARK)]
    return stale | dict.fromkeys(gone)


def write_pages(stale: dict[Path, str | None]) -> None:
    """Makes the files what they should be."""
    for path, text in stale.items():
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _print(*parts: RenderableType) -> None:
    """On a terminal as wide as it is; to a pipe without blanks at the ends of lines."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_WIDE)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())
