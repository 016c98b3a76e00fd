"""Words of who lives where: roles, kinds of units, what the list of moves shows."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

OCCUPANCY_ROLES: Final[Mapping[str, str]] = {
    "owner": _("owner"),
    "tenant": _("tenant"),
    "family": _("family"),
}

UNIT_KINDS: Final[Mapping[str, str]] = {
    "residential": _("Flat"),
    "shop": _("Shop"),
    "office": _("Office"),
    "industrial": _("Industrial"),
    "common": _("Common space"),
}

MOVES: Final[Mapping[str, str]] = {
    "in": _("Moves in"),
    "out": _("Moves out"),
    "living": _("Living there, no end entered"),
    "account-open": _("Moved out, account still open"),
    "account-ended": _("Living there, account has ended"),
}
"""What the list of moves may show, by cloud.estate.occupancies.moves.Show."""
