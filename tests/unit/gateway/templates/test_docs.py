"""Pages about devices are made of their templates, of whatever protocol, and those in the repository are current."""

import re
from typing import Literal

import pytest

from gateway.catalogue import stale_pages
from gateway.templates import words
from gateway.templates.base import DeviceTemplate, Measured, Medium, Source
from gateway.templates.docs import MARK, page_of, pages
from gateway.templates.library import firmware_config
from gateway.templates.modbus import ModbusTemplate
from tests.templates import LIBRARY

DIRECTORY = firmware_config().parent / "docs" / "devices"


class Cell(Measured):
    """A value of a protocol that nobody wrote a word about."""

    sheet: str
    row: int = 0


class Paper(DeviceTemplate):
    """Its device."""

    protocol: Literal["paper"] = "paper"
    registers: tuple[Cell, ...]


def paper(**changes: object) -> Paper:
    made = Paper(
        vendor="Acme & Sons",
        model="Ledger 7",
        medium=Medium.WATER,
        proven="document",
        sources=(Source(reference="https://example.org/ledger, page 3", covers="all cells"),),
        registers=(Cell(channel="volume_total", unit="m3", scale="0.001", digits=8, sheet="A", row=4),),
    )
    return made.model_copy(update=changes)


def modbus(**keys: object) -> ModbusTemplate:
    content = {
        "vendor": "Acme", "model": "M", "medium": "electricity", "proven": "document",
        "sources": [{"reference": "a book", "covers": "everything"}],
        "transports": {"modbus_rtu": {}},
        "registers": [{"channel": "energy_import_total", "function": 3, "address": 7, "type": "u32", "unit": "Wh"}],
    } | keys  # fmt: skip
    return ModbusTemplate.model_validate(content, strict=False)


def test_the_pages_of_the_repository_are_current() -> None:
    assert stale_pages(LIBRARY, DIRECTORY) == {}, "run `gatemeter devices docs`"


def test_every_link_of_the_index_leads_to_a_model() -> None:
    made = pages({one: LIBRARY.meter(one) for one in LIBRARY.ids})
    links = re.findall(r"\]\(([a-z0-9-]+\.md)#([a-z0-9-]+)\)", made["README.md"])
    assert {name for _, name in links} == set(LIBRARY.ids)
    assert all(f'<a id="{name}"></a>' in made[page] for page, name in links)
    assert all(text.startswith(MARK) and text.endswith("\n") for text in made.values())


def test_a_protocol_without_words_of_its_own_is_still_described() -> None:
    text = pages({"acme-ledger-7": paper()})["acme-sons.md"]
    assert "# Acme & Sons" in text
    assert "| `volume_total` | sheet A, row 4 | 0.001 m3, 8 digits |" in text
    assert "water, paper" in text
    assert "<https://example.org/ledger>, page 3: all cells" in text
    assert "limits" not in text


def test_vendors_share_a_page_whatever_the_order_of_ids() -> None:
    made = pages({"b": paper(model="B"), "a": paper(model="A"), "c": paper(vendor="Other")})
    assert sorted(made) == ["README.md", "acme-sons.md", "other.md"]
    assert made["acme-sons.md"].index("## A") < made["acme-sons.md"].index("## B")
    assert page_of(paper(vendor="B+G e-tech")) == "b-g-e-tech.md"


def test_the_index_tells_totals_from_what_splits_them_up() -> None:
    template = modbus(
        registers=[
            {"channels": ["energy_import_total", "energy_import_l1", "energy_import_l2"], "stride": 4, "function": 3,
             "address": 0, "type": "u32", "unit": "Wh"},
            {"channel": "voltage_l1", "function": 3, "address": 40, "type": "u16", "unit": "V"},
        ],
        limits={"max_registers": 20, "pause_ms": 50, "refuses_holes": True,
                "forbidden": [{"function": 3, "first": 20, "last": 22}, {"function": 3, "first": 30, "last": 30}]},
    )  # fmt: skip
    row = next(line for line in pages({"acme-m": template})["README.md"].splitlines() if "`acme-m`" in line)
    assert "| energy import, 2 of phases or tariffs | 1 |" in row
    assert "20 registers a read, no read over gaps, never 20 to 22, never 30, 50 ms between reads" in row


@pytest.mark.parametrize(
    ("register", "where"),
    [
        ({"address": 7, "type": "u32"}, "holding 7 u32"),
        ({"address": 7, "type": "u32", "word_order": "little", "byte_order": "little", "mask": 0xFF},
         "holding 7 u32 low word first low byte first bits 0xff"),
        ({"address": 7, "type": "u32", "word_order": "big", "byte_order": "big"},
         "holding 7 u32 high word first high byte first"),
        ({"parts": [{"address": 1, "type": "u32", "scale": "1000"}, {"address": 3, "type": "u16"}]},
         "holding 1000 × 1 u32 + 3 u16"),
        ({"address": 7, "type": "s16", "exponent": {"address": 9, "type": "s16"}}, "holding 7 s16 × 10^(9 s16)"),
        ({"address": 7, "type": "u16", "multipliers": [{"address": 1, "type": "u16"}],
          "divisors": [{"address": 2, "type": "u16"}], "sign": {"address": 3, "type": "u16", "bit": 0}},
         "holding 7 u16 × (1 u16) ÷ (2 u16) sign at 3 u16 bits 0x1"),
    ],
)  # fmt: skip
def test_where_a_modbus_value_lies(register: dict[str, object], where: str) -> None:
    template = modbus(registers=[{"channel": "energy_import_total", "function": 3, "unit": "kWh"} | register])
    assert words.place(template.registers[0]) == where


def test_factory_settings_orders_and_abilities() -> None:
    switch = {"function": 5, "address": 1, "values": [1]}
    relay = {"connect": [switch], "disconnect": [switch | {"values": [0]}], "shown": {"address": 2, "type": "u16"}}
    template = modbus(
        transports={"modbus_rtu": {"baud_rate": 2400, "parity": "even"}, "modbus_tcp": {"port": 503}},
        word_order="little", byte_order="little", instances={"count": 3, "stride": 10}, controls={"relay": relay},
        serial_number={"function": 3, "address": 70, "type": "u32"},
        identity=[{"function": 3, "address": 80, "type": "u16", "equals": [5]}],
    )  # fmt: skip
    assert words.connection(template) == "2400 baud 8E1, unit 1; TCP port 503, unit 1"
    assert words.order(template) == "low word first, low byte first"
    assert words.abilities(template) == "3 meters in one, relay, identity, serial number"
    assert (words.connection(modbus()), words.order(modbus()), words.abilities(modbus())) == ("", "", "")


def test_what_a_step_is_worth() -> None:
    template = modbus(
        registers=[
            {"channel": "power_factor_total", "function": 3, "address": 1, "type": "s16", "unit": "1"},
            {"channel": "power_factor_l1", "function": 3, "address": 2, "type": "s16", "unit": "1", "scale": "0.001"},
            {"channel": "relay_state", "function": 3, "address": 3, "type": "u16", "unit": "state"},
        ]
    )
    assert [words.meaning(one) for one in template.registers] == ["1", "0.001", ""]
