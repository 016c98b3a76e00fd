"""Typical days by class of meter: what an estimate stands on where a meter has no history of its own.

The electric home is the mean of five households' half-hourly series over 13 to 25 months (Smart-Grid Smart-City
Customer Trial Data, © Commonwealth of Australia, CC BY 3.0 AU), in thousandths of a day. Water follows the usual two
peaks of homes at 110 L for each of three persons; the others are assumptions that say no more than "by day", "by night"
and "evenly". They are the last rung of the ladder: the first good day of the meter itself replaces them.
"""

from collections.abc import Mapping
from typing import Final

from cloud.metering.derivation.estimation import Profile

_HOME_WORK = (31, 28, 25, 23, 22, 37, 68, 68, 52, 42, 38, 38, 36, 33, 33, 32, 34, 39, 54, 62, 62, 58, 47, 38)
_HOME_REST = (31, 26, 25, 22, 21, 25, 34, 49, 60, 58, 55, 48, 47, 40, 39, 38, 41, 44, 53, 56, 55, 52, 44, 35)
_WATER_WORK = (9, 5, 4, 4, 6, 22, 70, 88, 60, 42, 36, 40, 44, 36, 30, 30, 36, 54, 72, 84, 86, 72, 46, 24)
_WATER_REST = (12, 7, 5, 4, 5, 12, 34, 62, 78, 74, 62, 56, 54, 46, 40, 38, 42, 54, 68, 76, 74, 60, 40, 24)
_EVEN = (1,) * 24
_BY_NIGHT = (14, 14, 14, 14, 14, 12, 8, 5, 4, 4, 4, 4, 4, 4, 4, 4, 5, 9, 14, 16, 16, 16, 15, 14)
_BY_DAY = (2, 2, 2, 2, 2, 2, 3, 6, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 8, 6, 3, 2)

PROFILES: Final[Mapping[str, Profile]] = {
    "electricity-residential": Profile(_HOME_WORK, _HOME_REST, 9_880),
    "electricity-commercial": Profile(_BY_DAY, _BY_DAY, 30_000),
    "electricity-industrial": Profile(_BY_DAY, _EVEN, 200_000),
    "electricity-public": Profile(_BY_NIGHT, _BY_NIGHT, 10_000),
    "water-residential": Profile(_WATER_WORK, _WATER_REST, 330_000),
    "water-commercial": Profile(_BY_DAY, _BY_DAY, 800_000),
    "water-network": Profile(_WATER_WORK, _WATER_REST, 0),
    "heat": Profile(_EVEN, _EVEN, 40_000),
}
"""By class of meters; thresholds of a project or a meter may say otherwise. Usage in a day in Wh, mL, Wh. A network has
no typical size: its shape is that of what hangs on it, its open end is estimated from its own days or as nothing."""
