"""The Jinja environment of all pages: templates, translations, and how quantities and asset addresses are written."""

import hashlib
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.kit import i18n
from cloud.kit.pages import prepare
from cloud.kit.periods import Period, month_of
from cloud.web.words import choices, flags, word
from gateway.contract.quantities import BY_CODE, BY_NUMBER, Quantity

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
        register=show_register,
        percent=show_percent,
        plain=show_plain,
        period=show_period,
        day_before=day_before,
        word=word,
        flags=flags,
    )
    made.globals.update(static=static_url, choices=choices)
    return made


def day_before(day: date) -> date:
    """The last day of what ends before `day`."""
    return day - timedelta(days=1)


def display(value: int, quantity: Quantity) -> Decimal:
    """`value` in the base unit of `quantity`, as people read it (Wh → kWh), exactly."""
    return Decimal(value).scaleb(quantity.display_exponent)


def show_usage(value: int, channel: str | int) -> str:
    """A usage in the base unit of `channel` (code or number), rounded for reading, with its unit: 12.3 kWh."""
    quantity = _quantity(channel)
    return f"{i18n.show_number(display(value, quantity), _DECIMALS.get(quantity.display_unit))} {quantity.display_unit}"


def show_register(value: int, channel: str | int) -> str:
    """A reading in the base unit of `channel` (code or number), with every digit and its unit."""
    quantity = _quantity(channel)
    return f"{i18n.show_number(display(value, quantity))} {quantity.display_unit}".strip()


def show_percent(part: Decimal | int, whole: Decimal | int) -> str | None:
    """`part` of `whole` as a percentage with one decimal; None when there is no whole."""
    return None if not whole else f"{i18n.show_number(Decimal(part) * 100 / Decimal(whole), 1)}%"


def show_plain(number: Decimal) -> str:
    """A quantity or price with the decimals it needs and no more: 0.4883, 240."""
    return i18n.show_number(Decimal(format(number.normalize(), "f")))


def show_period(period: Period) -> str:
    """A whole calendar month by its name, a day by its date, anything else by its first and last day."""
    if period == month_of(period.start):
        return i18n.show_month(period.start)
    if period.days == 1:
        return i18n.show_date(period.start)
    return f"{i18n.show_date(period.start)} – {i18n.show_date(period.end - timedelta(days=1))}"


def _quantity(channel: str | int) -> Quantity:
    return BY_NUMBER[channel] if isinstance(channel, int) else BY_CODE[channel]


@lru_cache
def static_url(name: str) -> str:
    """Address of an asset, with a mark of its content: browsers may keep it forever and still notice a new one."""
    mark = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={mark}"
