"""Which channels are read with the same period; pure."""

from typing import Final

from gateway.contract.quantities import Kind
from gateway.drivers.base import Group, Groups
from gateway.templates.base import Measured

READ_TOGETHER: Final[tuple[Groups, ...]] = (frozenset({Group.BILLING}), frozenset({Group.INSTANT}), frozenset(Group))
"""Every set of groups that can be due at once: a driver has a read program for each."""


def group_of(measured: Measured) -> Group:
    """Cumulative registers are billing registers, all others are momentary."""
    return Group.BILLING if measured.quantity.kind is Kind.CUMULATIVE else Group.INSTANT
