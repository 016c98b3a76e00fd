"""Tariffs at random, with tiers of a month or a year that large households widen."""

from decimal import Decimal
from random import Random
from typing import Any

from cloud.tariffs.model.tariff import TariffContent


def random_content(random: Random) -> TariffContent:
    """Tiers that some of the months fill, a rule for large households, standing charges and a tax."""

    def price() -> str:
        return format(Decimal(random.randrange(1, 20_000)).scaleb(-4), "f")

    level = random.choice(["line", "bill", "bill"])
    fixed = [{"kind": "fixed", "code": "standing", "per": random.choice(["day", "month"]), "price": price()}]
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "tiers": {"bounds": [300, 900], "window": {"kind": "month"}},
            "components": [
                {"kind": "energy", "code": "energy", "prices": {"all": [price(), price(), price()]}},
                *random.choice([fixed, []]),
                *random.choice([[{"kind": "area", "code": "space", "price": price()}], []]),
                {"kind": "tax", "code": "vat", "percent": "13", "inclusive": random.random() < 0.5},
            ],
            "rounding": {"level": level, "cumulative": level == "bill" and random.random() < 0.7},
        }
    )


def random_shape(random: Random) -> dict[str, Any]:
    """What versions of a tariff have in common."""
    window = random.choice(
        [{"kind": "month"}, {"kind": "month", "partial": "by_day"}]
        + [{"kind": "year", "anchor": anchor, "partial": partial} for anchor in ("01-01", "03-01")
           for partial in ("full", "by_month", "by_day")]
    )  # fmt: skip
    return {
        "tiers": {"bounds": [300, 900], "window": window},
        "household": {
            "from_persons": random.randrange(2, 5),
            "raise_bounds_by": random.randrange(1, 90),
            "per": "month" if window["kind"] == "month" else random.choice(["month", "year"]),
            "each": random.choice(["household", "extra_person"]),
            "tiers": random.choice([[1], [1, 2], [2]]),
        },
    }
