"""Languages: catalogues, which one a request gets, and how dates, numbers and money look in it."""

import gettext as gettext_module
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, get_currency_symbol

from cloud.kit.periods import Period, month_of
from gateway.contract.quantities import BY_CODE, BY_NUMBER, Quantity

CATALOGUES = Path(__file__).resolve().parents[1] / "web" / "locale"
SOURCE_LOCALE = "en"
"""The language the messages are written in; it needs no catalogue."""
COOKIE = "locale"
# English gives the plain sign to the yen. Here it is the yuan's, as on every bill; no two currencies share one.
_ENGLISH_SIGNS = {"CNY": "¥", "JPY": "JP¥"}


@dataclass(frozen=True, slots=True)
class Translator:
    """One language: its tag (BCP 47, `zh-CN`), Babel's locale and the messages."""

    tag: str
    locale: Locale
    messages: gettext_module.NullTranslations

    def gettext(self, message: str) -> str:
        """The message in this language, or itself."""
        return self.messages.gettext(message) if message else ""

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The form of the message for `number`."""
        return self.messages.ngettext(singular, plural, number)


@cache
def load_catalogues(folder: Path = CATALOGUES) -> Mapping[str, Translator]:
    """Every language under `folder` (`<lang>/LC_MESSAGES/messages.po`) and the source language, by tag; read once."""
    found = {SOURCE_LOCALE: Translator(SOURCE_LOCALE, Locale(SOURCE_LOCALE), gettext_module.NullTranslations())}
    for path in sorted(folder.glob("*/LC_MESSAGES/messages.po")):
        tag = path.parts[-3].replace("_", "-")
        locale = Locale.parse(tag, sep="-")
        with path.open("rb") as file:
            catalogue = read_po(file, locale=str(locale))
        compiled = io.BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        found[tag] = Translator(tag, locale, gettext_module.GNUTranslations(compiled))
    return found


def negotiate(available: Iterable[str], *wanted: str | None, accept_language: str = "") -> str:
    """The tag to use: the first of `wanted` that is available, else the best of Accept-Language, else English.

    A tag fits another of the same language when none fits exactly: `zh` and `zh-TW` find `zh-CN`.
    """
    tags = list(available)
    for candidate in (*wanted, *_by_preference(accept_language)):
        if candidate and (match := _match(tags, candidate)):
            return match
    return SOURCE_LOCALE


def _by_preference(accept_language: str) -> list[str]:
    weighted: list[tuple[int, int, str]] = []
    for position, part in enumerate(accept_language[:500].split(",")):
        tag, _, parameters = part.strip().partition(";")
        weight = _thousandths(parameters)
        if tag and tag != "*" and weight:
            weighted.append((-weight, position, tag.strip()))
    return [tag for _, _, tag in sorted(weighted)]


def _thousandths(parameters: str) -> int:
    """Quality value `q=0.8` in thousandths; 1000 when absent, 0 when malformed."""
    name, _, value = parameters.strip().partition("=")
    if not name:
        return 1000
    whole, _, fraction = value.strip().partition(".")
    if name.strip().lower() != "q" or whole not in ("0", "1") or (fraction and not fraction.isdecimal()):
        return 0
    return min(1000, int(whole) * 1000 + int(fraction[:3].ljust(3, "0")))


def _match(tags: list[str], candidate: str) -> str | None:
    wanted = candidate.replace("_", "-").lower()
    by_lower = {tag.lower(): tag for tag in tags}
    if wanted in by_lower:
        return by_lower[wanted]
    language = wanted.split("-")[0]
    return next((tag for tag in tags if tag.lower().split("-")[0] == language), None)


_current: ContextVar[Translator] = ContextVar("translator")
_ENGLISH = Translator(SOURCE_LOCALE, Locale(SOURCE_LOCALE), gettext_module.NullTranslations())


def current() -> Translator:
    """The language in use here; English outside of a request."""
    return _current.get(_ENGLISH)


@contextmanager
def speaking(translator: Translator) -> Iterator[Translator]:
    """Everything inside the block speaks this language."""
    token = _current.set(translator)
    try:
        yield translator
    finally:
        _current.reset(token)


def translator(catalogues: Mapping[str, Translator], tag: str) -> Translator:
    """The language of `tag`, or English."""
    return catalogues.get(tag, _ENGLISH)


def marked(message: str) -> str:
    """The message itself. Imported as `_` it marks messages of tables that are translated where they are shown."""
    return message


def gettext(message: str) -> str:
    """`message` in the language in use."""
    return current().gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """The form for `number` in the language in use."""
    return current().ngettext(singular, plural, number)


def show_date(day: date, form: str = "medium") -> str:
    """A local date: `form` is short, medium, long or full."""
    return format_date(day, format=form, locale=current().locale)


def show_month(day: date) -> str:
    """Year and month."""
    return format_skeleton("yMMM", datetime(day.year, day.month, 1), locale=current().locale)  # noqa: DTZ001 - a date


def show_time(instant: datetime, zone: ZoneInfo, form: str = "short") -> str:
    """An instant (timezone-aware) on the clock of `zone`."""
    return format_datetime(instant, format=form, tzinfo=zone, locale=current().locale)


def show_number(number: Decimal | int, digits: int | None = None) -> str:
    """A number with grouping; with exactly `digits` decimals, or as many as it has."""
    if digits is None:
        exponent = number.as_tuple().exponent if isinstance(number, Decimal) else 0
        digits = max(0, -exponent) if isinstance(exponent, int) else 0
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(number, format=pattern, locale=current().locale)


def show_money(amount: Decimal, currency: str) -> str:
    """An amount with its currency sign."""
    return _signed(format_currency(amount, currency, locale=current().locale), currency)


def show_price(amount: Decimal, currency: str) -> str:
    """A price of one unit with its currency sign and all of its decimals: ¥0.4883."""
    shown = format_currency(amount.normalize(), currency, locale=current().locale, decimal_quantization=False)
    return _signed(shown, currency)


def _signed(shown: str, currency: str) -> str:
    locale = current().locale
    if locale.language != SOURCE_LOCALE or currency not in _ENGLISH_SIGNS:
        return shown
    return shown.replace(get_currency_symbol(currency, locale), _ENGLISH_SIGNS[currency])


def show_plain(number: Decimal) -> str:
    """A quantity or price with the decimals it needs and no more: 0.4883, 240."""
    return show_number(Decimal(format(number.normalize(), "f")))


def show_period(period: Period) -> str:
    """A whole calendar month by its name, a day by its date, anything else by its first and last day."""
    if period == month_of(period.start):
        return show_month(period.start)
    if period.days == 1:
        return show_date(period.start)
    return f"{show_date(period.start)} – {show_date(period.end - timedelta(days=1))}"


def show_register(value: int, channel: str | int) -> str:
    """A reading in the base unit of `channel` (code or number), with every digit and its unit."""
    quantity = quantity_of(channel)
    return f"{show_number(in_display_unit(value, quantity))} {quantity.display_unit}".strip()


def in_display_unit(value: int, quantity: Quantity) -> Decimal:
    """`value` in the base unit of `quantity`, as people read it (Wh → kWh), exactly."""
    return Decimal(value).scaleb(quantity.display_exponent)


def quantity_of(channel: str | int) -> Quantity:
    """What a channel measures, by its code or number."""
    return BY_NUMBER[channel] if isinstance(channel, int) else BY_CODE[channel]


def language_name(tag: str) -> str:
    """The language's own name, for the switch."""
    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return tag
    return locale.get_language_name(locale) or tag
