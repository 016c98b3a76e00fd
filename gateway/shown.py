"""Values as people read them."""

from decimal import Decimal

from gateway.contract.messages import Quality
from gateway.contract.quantities import BY_CODE


def shown_value(channel: str, value: int) -> tuple[str, str]:
    """(plain decimal digits, unit) of a wire value of `channel`, with all the digits that it has."""
    quantity = BY_CODE[channel]
    return format(Decimal(value).scaleb(quantity.display_exponent), "f"), quantity.display_unit


def quality_words(quality: int) -> list[str]:
    """The flags of a value in words; none for a value without a blemish."""
    return [(flag.name or "").lower().replace("_", "-") for flag in Quality if quality & flag]


def shown_age(seconds: float) -> str:
    """Such as 4 s, 12 min, 3.5 h, 2 d."""
    if seconds < 100:
        return f"{max(0, seconds):.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} d"


def shown_bytes(count: int) -> str:
    """Such as 812 B, 14.2 kB, 3.1 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
