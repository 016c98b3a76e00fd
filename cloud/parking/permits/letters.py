"""What people are told of their permits, in their language."""

from collections.abc import Callable, Sequence
from datetime import date

from cloud.kit import i18n
from cloud.kit.i18n import gettext as _
from cloud.notices.records import Text

_PAGE = "/my/permits"


def ending(product: str, plates: Sequence[str], last: date) -> Callable[[], Text]:
    """A card whose last day comes."""

    def write() -> Text:
        day = i18n.show_date(last)
        said = (
            _("%(card)s for %(plates)s is valid up to and including %(day)s.")
            % {"card": product, "plates": ", ".join(plates), "day": day},
            _("After that its vehicles pay like any other. Renew it at the service desk in time."),
        )
        return Text(_("Your parking card ends on %(day)s") % {"day": day}, said, _PAGE)

    return write
