"""Usage between two readings, as the effect of an edit tells it, is what the engine derives."""

from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.derivation.grid import Grid
from cloud.metering.derivation.judging import HOUR_MS, Epochs, Readings
from cloud.metering.derivation.usage import derive
from cloud.metering.edits.effects import advance
from cloud.metering.readings.neighbours import Neighbour, Register

MODULUS = 10_000


def ints(*values: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array(values, np.int64)


@given(
    st.integers(0, MODULUS - 1),
    st.integers(0, MODULUS - 1),
    st.integers(1, 12_000),
    st.decimals("0.0001", "120", places=4),
)
def test_the_advance_is_that_of_the_usage_engine(first: int, last: int, most: int, multiplier: Decimal) -> None:
    epochs = Epochs(
        ints(0), ints(0), ints(2**42), ints(MODULUS), ints(most), ints(int(multiplier * 10_000)), ints(-1), ints(-1)
    )
    # Staff's word on both: whatever they are, they count.
    forced = np.ones(2, np.bool_)
    readings = Readings(
        ints(0, 0), ints(HOUR_MS, 2 * HOUR_MS), ints(first, last), ints(0, 0), ints(0, 0), forced, ~forced
    )
    rows = derive(readings, epochs, Grid(ints(HOUR_MS), ints(0), ints(0)), np.zeros(1, np.bool_)).positions.rows()
    found = advance(Neighbour(HOUR_MS, first), Neighbour(2 * HOUR_MS, last), Register(MODULUS, most), multiplier)
    assert rows.quantity.tolist() == [found]
