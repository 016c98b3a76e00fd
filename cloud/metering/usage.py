"""Usage engine: from the readings of one register to rows of usage; pure numpy int64."""

from typing import Final

TOLERANCE_S: Final = 300
"""The boundary reading of a grid instant is the first good reading at or after it, within this time."""
