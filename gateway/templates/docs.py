"""Pages about the supported devices, made of nothing but their templates."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from gateway.contract.quantities import Kind
from gateway.templates import words
from gateway.templates.base import DeviceTemplate, Medium

MARK: Final = "<!-- Written by `gatemeter devices docs`: edit firmware-config/meters/ instead. -->"

_PROVEN: Final = {
    "hardware": "read on a device",
    "documents": "two independent documents agree",
    "document": "taken from one document",
    "simulator": "ours alone: no such device is sold",
}

_INTRO: Final = """\
# Supported devices

{count} models. Each is one file in `firmware-config/meters/`; the test suite reads every one of them from a simulator
that is built from the same file. `gatemeter devices list` and `gatemeter devices show MODEL` show the same on the
command line; [devices.md](../devices.md) describes how to add a model.

*Proven* says what the facts of a model rest on. **No model here was read on a real device yet** unless it says
`hardware`: compare the first readings with the meter's display before you bill by them.

| proven | models | meaning |
|---|---|---|
{proven}

A model's page names its sources, and says in its notes what was left out because sources disagree or say nothing. A
source named "code index, file N" is a public file that was found by its content; its repository is not known.
"""


def pages(templates: Mapping[str, DeviceTemplate]) -> dict[str, str]:
    """File name -> text: an index, and one page per vendor. `templates` by id."""
    by_vendor = sorted(templates.items(), key=lambda item: (page_of(item[1]), item[0]))
    return {"README.md": _index(templates)} | {
        page: _vendor_page([*group]) for page, group in groupby(by_vendor, key=lambda item: page_of(item[1]))
    }


def page_of(template: DeviceTemplate) -> str:
    """File name of the vendor's page."""
    return re.sub(r"[^a-z0-9]+", "-", template.vendor.lower()).strip("-") + ".md"


def _index(templates: Mapping[str, DeviceTemplate]) -> str:
    proven = [
        f"| `{word}` | {count} | {meaning} |"
        for word, meaning in _PROVEN.items()
        if (count := sum(one.proven == word for one in templates.values()))
    ]
    sections = [_INTRO.format(count=len(templates), proven="\n".join(proven))]
    for medium in Medium:
        chosen = {name: one for name, one in templates.items() if one.medium is medium}
        if chosen:
            sections.append(_medium_section(medium, chosen))
    return MARK + "\n\n" + "\n".join(sections)


def _medium_section(medium: Medium, templates: Mapping[str, DeviceTemplate]) -> str:
    head = ["model", "id", "protocol", "registers", "other channels", "proven", "sources", "limits, abilities"]
    ordered = sorted(templates.items(), key=lambda item: (item[1].vendor.lower(), item[1].model.lower()))
    rows = [
        [
            f"[{one.vendor} {one.model}]({page_of(one)}#{name})",
            f"`{name}`",
            protocol_of(one),
            ", ".join(_counters(one)) or "–",
            str(sum(register.quantity.kind is not Kind.CUMULATIVE for register in one.registers)),
            f"`{one.proven}`",
            str(len(one.sources)),
            "; ".join(text for text in (words.limits(one), words.abilities(one)) if text),
        ]
        for name, one in ordered
    ]
    return "\n".join((f"## {medium.value.capitalize()}: {len(rows)}", "", *_table(head, rows), ""))


def protocol_of(template: DeviceTemplate) -> str:
    """The protocol's name as documents write it."""
    return words.PROTOCOLS.get(template.protocol, template.protocol)


def _counters(template: DeviceTemplate) -> Iterable[str]:
    """What can be billed, shortly: the totals, and how many registers split them up."""
    split = 0
    for register in template.registers:
        if register.quantity.kind is not Kind.CUMULATIVE or register.channel == "operating_time":
            continue
        if register.channel.endswith("_total"):
            yield register.channel.removesuffix("_total").replace("_", " ")
        else:
            split += 1
    if split:
        yield f"{split} of phases or tariffs"


def _vendor_page(group: Sequence[tuple[str, DeviceTemplate]]) -> str:
    vendor = group[0][1].vendor
    sections = "\n".join(_section(name, template) for name, template in group)
    return f"{MARK}\n\n# {vendor}\n\n[All devices](README.md)\n\n{sections}"


def _section(name: str, template: DeviceTemplate) -> str:
    facts = (
        ("template", f"`{name}`, {template.medium.value}, {protocol_of(template)}"),
        ("proven", f"`{template.proven}`: {_PROVEN[template.proven]}"),
        ("factory settings", words.connection(template)),
        ("order", words.order(template)),
        ("limits", words.limits(template)),
        ("abilities", words.abilities(template)),
    )
    rows = [
        [f"`{one.channel}`", words.place(one).replace("|", "\\|"), words.meaning(one)] for one in template.registers
    ]
    return "\n".join(
        (
            f'<a id="{name}"></a>',
            f"## {template.model}",
            "",
            *(f"- {label}: {text}" for label, text in facts if text),
            "- sources:",
            *(f"  - {_linked(source.reference)}: {source.covers}" for source in template.sources),
            "",
            *((template.notes.strip(), "") if template.notes else ()),
            *_table(["channel", "where", "one step"], rows),
            "",
        )
    )


def _linked(reference: str) -> str:
    return re.sub(r"https?://[^\s,;)]+", r"<\g<0>>", reference)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
