"""The Jinja environment of all pages: templates, translations, and how quantities and asset addresses are written."""

import hashlib
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.billing import names
from cloud.billing.corrections import sentences as correction_sentences
from cloud.billing.explanation import explaining_agreed, sentences
from cloud.kit import i18n
from cloud.kit.pages import prepare
from cloud.web.menu import menu
from cloud.web.words import actor, choices, flags, word

WEB = Path(__file__).resolve().parent
TEMPLATES = WEB / "templates"
STATIC = WEB / "static"

_DECIMALS = {"kWh": 1, "m³": 2}
"""How many decimals a usage is shown with; registers are shown with all they have."""


def environment() -> Environment:
    """Templates with autoescape, our gettext and filters. A name that a page forgot to pass is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    prepare(made)
    made.filters.update(
        usage=show_usage,
        register=i18n.show_register,
        percent=show_percent,
        plain=i18n.show_plain,
        price=i18n.show_price,
        period=i18n.show_period,
        day_before=day_before,
        word=word,
        actor=actor,
        service_name=names.service_name,
        line_name=names.line_name,
        unit_name=names.unit_name,
        time_period_name=names.time_period_name,
        season_name=names.season_name,
        bill_state_name=names.bill_state_name,
        line_title=sentences.line_title,
        line_quantity=sentences.line_quantity,
        line_price=sentences.line_price,
        readings_sentence=sentences.readings_sentence,
        sentences=sentences.sentences,
        tax_sentence=sentences.tax_sentence,
        agreed_sentences=explaining_agreed.agreed_sentences,
        flags=flags,
        document_title=correction_sentences.document_title,
        corrected=correction_sentences.corrected,
        correction_title=correction_sentences.correction_title,
        correction_sentence=correction_sentences.correction_sentence,
        as_charged=correction_sentences.as_charged,
    )
    made.globals.update(static=static_url, choices=choices, menu=menu)
    return made


def day_before(day: date) -> date:
    """The last day of what ends before `day`."""
    return day - timedelta(days=1)


def show_usage(value: int, channel: str | int) -> str:
    """A usage in the base unit of `channel` (code or number), rounded for reading, with its unit: 12.3 kWh."""
    quantity = i18n.quantity_of(channel)
    shown = i18n.show_number(i18n.in_display_unit(value, quantity), _DECIMALS.get(quantity.display_unit))
    return f"{shown} {quantity.display_unit}"


def show_percent(part: Decimal | int, whole: Decimal | int) -> str | None:
    """`part` of `whole` as a percentage with one decimal; None when there is no whole."""
    return None if not whole else f"{i18n.show_number(Decimal(part) * 100 / Decimal(whole), 1)}%"


@lru_cache
def static_url(name: str) -> str:
    """Address of an asset, with a mark of its content: browsers may keep it forever and still notice a new one."""
    mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={mark}"
