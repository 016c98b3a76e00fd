"""What notices of prepaid supply say, in the reader's language."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from cloud.billing.names import service_name
from cloud.kit import i18n
from cloud.kit.i18n import gettext as _
from cloud.notices.records import Text
from cloud.prepaid.disconnection import Rules
from cloud.prepaid.records import PositionRow

Write = Callable[[], Text]
_PAGE: Final = "/my/prepaid"


def low(number: str, row: PositionRow) -> Write:
    """A balance that runs low, and for how long it lasts."""

    def write() -> Text:
        left = i18n.show_money(row.available, row.currency)
        said = [_("%(amount)s are left on account %(number)s.") % {"amount": left, "number": number}]
        if row.available <= 0:
            said = [_("Account %(number)s is used up: it stands at %(amount)s.") % {"amount": left, "number": number}]
        elif row.days_left is not None:
            said.append(_("At the present rate this lasts for %(days)s days.") % {"days": row.days_left})
        said.append(_("Please pay in advance in time."))
        return Text(_("Your prepaid balance is low"), tuple(said), _PAGE)

    return write


def warning(service: str, row: PositionRow, rules: Rules, *, second: bool) -> Write:
    """A supply that will be cut, when at the earliest, and what prevents it."""

    def write() -> Text:
        left = i18n.show_money(row.available, row.currency)
        if second:
            subject = _("%(service)s will be switched off soon") % {"service": service_name(service)}
            minutes = rules.second_notice // timedelta(minutes=1)
            when = _("Your supply can be switched off %(minutes)s minutes from now.") % {"minutes": minutes}
        else:
            subject = _("%(service)s will be switched off unless you pay") % {"service": service_name(service)}
            days = rules.notice.days
            when = _("Your supply can be switched off %(days)s days after this notice.") % {"days": days}
        said = (
            _("Your prepaid balance stands at %(amount)s.") % {"amount": left},
            when,
            _("Whatever you pay before that keeps it on, as soon as your balance is covered again."),
            _("If somebody in your home depends on it for medical reasons, or you think this is wrong, tell us now."),
        )
        return Text(subject, said, _PAGE)

    return write


def off(service: str) -> Write:
    """A supply that was cut."""

    def write() -> Text:
        subject = _("%(service)s is switched off") % {"service": service_name(service)}
        return Text(subject, (_("It is switched on again by itself as soon as your balance is covered."),), _PAGE)

    return write


def back(service: str) -> Write:
    """A supply that is on again."""

    def write() -> Text:
        subject = _("%(service)s is on again") % {"service": service_name(service)}
        return Text(subject, (_("The meter has confirmed that your supply is switched on."),), _PAGE)

    return write
