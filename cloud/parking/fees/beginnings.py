"""Rules to begin with: files that ship, with a name in the reader's language."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import cloud
from cloud.kit import i18n
from cloud.kit.i18n import marked as _
from cloud.kit.yaml_files import load_yaml
from cloud.parking.fees.models import ParkingRule

FOLDER: Final = Path(cloud.__file__).parents[1] / "firmware-config" / "parking"
NAMES: Final[Mapping[str, str]] = {
    "mall": _("Shopping mall"),
    "residential": _("Housing estate, visitors"),
    "hospital": _("Hospital"),
    "office": _("Office building"),
    "day-night": _("Street, day and night"),
}
"""By name of the file."""


def beginning(name: str, currency: str) -> ParkingRule | None:
    """The rule of a file in the currency of a project; None when there is no such file.

    It is somebody else's: where its numbers come from is not said of what is made of it.
    """
    if name not in NAMES:
        return None
    return _read(name).model_copy(update={"name": i18n.gettext(NAMES[name]), "source": "", "currency": currency})


@cache
def _read(name: str) -> ParkingRule:
    return load_yaml(FOLDER / f"{name}.yaml", ParkingRule)
