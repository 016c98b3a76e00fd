"""What a chart of a page is drawn from: labels, exact decimal strings, and the slots without readings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Literal

import orjson
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Series:
    """One row of bars or one line. Values are decimal strings in the chart's unit; None: not known."""

    name: str
    kind: Literal["bar", "line"]
    colour: Literal["electricity", "water", "heat", "now", "before"]
    values: list[str | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """`labels` stand under the slots, `titles` name them in full; `gaps` are positions without readings."""

    unit: str
    labels: list[str]
    titles: list[str]
    series: list[Series]
    gaps: list[int]

    def answer(self) -> Response:
        """As JSON, for the page's script."""
        return Response(
            orjson.dumps(asdict(self)), media_type="application/json", headers={"Cache-Control": "no-store"}
        )


def decimals(values: Sequence[int | None], exponent: int) -> list[str | None]:
    """Integers in a base unit as decimal strings of the unit that is `10 ** -exponent` base units."""
    return [None if value is None else format(Decimal(value).scaleb(exponent), "f") for value in values]
