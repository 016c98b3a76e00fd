"""How long-running processes look for garbage: rarely, and never among what stays anyway."""

import gc
from typing import Final

_OBJECTS_BETWEEN_LOOKS: Final = 20_000


def keep_what_is_loaded() -> None:
    """Modules stay as long as the process: no collection looks at them again. Call it when everything is loaded.

    Without, a collection of everything holds a process up for a tenth of a second, and so whoever waits at a barrier;
    and each seven hundredth row of a query is a reason to look at those before it, though rows hold no cycles.
    """
    gc.collect()
    gc.freeze()
    look_rarely()


def look_rarely() -> None:
    """Before all is loaded: what is being loaded is no garbage, and a seventh of the time went into looking for it."""
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS, 20, 20)
