"""The templates that come with the software are honest: sourced, exact where money depends on it, named, distinct."""

import re
from collections import Counter
from itertools import combinations

import pytest

from gateway.contract.quantities import Kind
from gateway.templates.base import DeviceTemplate, Measured, Medium
from gateway.templates.modbus_registers import Register
from tests.templates import LIBRARY

TEMPLATES = {template_id: LIBRARY.meter(template_id) for template_id in LIBRARY.ids}
OURS = "gatemeter-"
"""Simulated meters: no such device is sold."""

WITHOUT_A_COUNTER = {"peacefair-pzem-016": "sources disagree on the step of its energy"}
"""Electricity meters whose imported energy is not read, and why; their notes say it."""

DESCRIBED_BY_FLOAT = re.compile(r"IEEE 754|single precision|double precision|float", re.IGNORECASE)


def every(*, ours: bool = True) -> pytest.MarkDecorator:
    """A test for each template."""
    ids = [one for one in TEMPLATES if ours or not one.startswith(OURS)]
    return pytest.mark.parametrize("template_id", ids)


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def origin(reference: str) -> str:
    """Who published a source: a repository, a host, or for anything else the document itself."""
    repository = re.search(r"github ([\w.-]+/[\w.-]+)", reference)
    if repository:
        return repository.group(1).lower()
    host = re.search(r"https?://(?:www\.)?([^/\s,]+)(/[^\s,]*)?", reference)
    if host is None:
        return reference
    return host.group(0) if host.group(1) == "gist.github.com" else host.group(1)


def counters(template: DeviceTemplate) -> list[Measured]:
    return [one for one in template.registers if one.quantity.kind is Kind.CUMULATIVE]


@every(ours=False)
def test_its_name_is_vendor_and_model(template_id: str) -> None:
    template = TEMPLATES[template_id]
    vendor, _, model = template_id.partition("-")
    initials = "".join(word[0] for word in template.vendor.lower().split())
    assert plain(template.vendor).startswith(vendor) or vendor == initials
    assert plain(model) in plain(template.model)


@every()
def test_it_claims_no_more_than_its_sources_give(template_id: str) -> None:
    template = TEMPLATES[template_id]
    origins = {origin(source.reference) for source in template.sources}
    assert template.proven != "hardware", "nobody read one of these devices with this software yet"
    assert (template.proven == "simulator") == template_id.startswith(OURS)
    if template.proven == "documents":
        covering = [one for one in template.sources if "factory settings" not in one.covers]
        assert len({origin(source.reference) for source in covering}) >= 2, origins


@every()
def test_each_source_says_what_it_covers(template_id: str) -> None:
    references = [source.reference for source in TEMPLATES[template_id].sources]
    assert len(set(references)) == len(references)
    assert all(len(source.covers) >= 8 for source in TEMPLATES[template_id].sources)


@every()
def test_what_is_billed_is_exact_or_its_notes_say_how_inexact(template_id: str) -> None:
    template = TEMPLATES[template_id]
    for one in counters(template):
        if not isinstance(one, Register):
            continue
        numbers = [part.type for part in one.terms]
        if any(kind.is_float for kind in numbers):
            assert DESCRIBED_BY_FLOAT.search(template.notes), one.channel
        elif one.rounds:
            assert "rounded" in template.notes, one.channel
        elif not one.has_fixed_factor:
            assert re.search("exponent|ratio|scale factor", template.notes + str(template.sources)), one.channel
        else:
            assert one.is_exact or one.parts, one.channel


@every()
def test_it_counts_what_it_is_for(template_id: str) -> None:
    template = TEMPLATES[template_id]
    wanted = {
        Medium.ELECTRICITY: {"energy_import_total"},
        Medium.WATER: {"volume_total"},
        Medium.HEAT: {"heat_total"},
    }[template.medium]
    missing = wanted - {one.channel for one in template.registers}
    assert bool(missing) == (template_id in WITHOUT_A_COUNTER)
    if missing:
        assert "energy" in template.notes.lower()


@every(ours=False)
def test_a_single_document_comes_with_a_reason_to_be_careful(template_id: str) -> None:
    template = TEMPLATES[template_id]
    if template.proven == "document" and len(template.sources) > 1:
        assert template.notes, "sources that do not confirm each other need a word"


@every()
def test_switching_has_a_state_to_show(template_id: str) -> None:
    template = TEMPLATES[template_id]
    channels = {one.channel for one in template.registers}
    for name in ("relay", "valve"):
        if getattr(getattr(template, "controls", None), name, None) is not None:
            assert f"{name}_state" in channels


def test_no_model_is_there_twice() -> None:
    names = Counter((template.vendor, template.model) for template in TEMPLATES.values())
    assert [name for name, count in names.items() if count > 1] == []
    for (one, first), (other, second) in combinations(TEMPLATES.items(), 2):
        if first.registers == second.registers and first.sources == second.sources:
            facts = [template.model_dump(exclude={"model", "notes"}) for template in (first, second)]
            assert facts[0] != facts[1], f"{one} and {other} are the same facts of the same sources"


def test_there_are_enough_of_each_medium() -> None:
    media = Counter(template.medium for name, template in TEMPLATES.items() if not name.startswith(OURS))
    assert media[Medium.ELECTRICITY] >= 30
    assert media[Medium.WATER] + media[Medium.HEAT] >= 12
