"""What drivers who have to pay are told at their lane. It comes after all openings, and none fails because of it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
import structlog

from cloud.devices import service as devices
from cloud.devices.records import Wish
from cloud.estate import service as estate
from cloud.kit import i18n
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.kit.i18n import gettext as _
from cloud.kit.money import minor_digits, round_half_up
from cloud.notices import service as notices
from cloud.parking.charging.policy import money_policy
from cloud.parking.records import Quote, Session, Waiting
from cloud.parking.stays import repository as stays_repository
from cloud.parking.stays.likeness import TICKET_SIGN
from gateway.contract.messages import Action

_log = structlog.get_logger(__name__)

_TOLD_WITHIN: Final = timedelta(seconds=60)
"""After that the gateway shows it no more: the next job tells what is due then."""

_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Owing:
    """A vehicle that waits at an exit and has to pay before it leaves."""

    session: Session
    waiting: Waiting
    quote: Quote


async def tell_drivers(conn: Conn, owing: Sequence[Owing], actor: str) -> None:
    """Tells the displays of their lanes what is due, where they can show it and do not show it already.

    What goes wrong is told in the log and undone. Raises psycopg.OperationalError when the whole transaction is to be
    done again. The caller has locked the plates.
    """
    untold: dict[int, list[Owing]] = defaultdict(list)
    for one in owing:
        if one.waiting.device_id is not None and not one.waiting.offline and not _is_shown(one):
            untold[one.session.project_id].append(one)
    for project_id, some in untold.items():
        try:
            async with conn.transaction():
                await _tell(conn, project_id, some, actor)
        except psycopg.OperationalError:
            raise
        except Exception:  # noqa: BLE001 - nobody is held at an exit because a display tells nothing
            _log.exception("parking.due_not_told", sessions=[one.session.id for one in some])


async def _tell(conn: Conn, project_id: int, owing: Sequence[Owing], actor: str) -> None:
    lanes = {one.waiting.device_id for one in owing if one.waiting.device_id is not None}
    able = await devices.that_can(conn, lanes, Action.SHOW_DUE)
    told = [one for one in owing if one.waiting.device_id in able]
    if not told:
        return
    zone = (await estate.get_project(conn, project_id)).zone
    by_phone = (await money_policy(conn, project_id)).public_code is not None
    with notices.speaking((await notices.get_settings(conn, project_id)).language):
        wishes = [_wish(one, zone, by_phone, actor) for one in told]
    answers = await devices.queue_commands(conn, project_id, wishes)
    shown = {
        one.waiting.passage_id: answer
        for one, answer in zip(told, answers, strict=True)
        if not isinstance(answer, Conflict)
    }
    await stays_repository.note_shown(conn, shown)


def _is_shown(one: Owing) -> bool:
    shown = one.waiting.shown
    return shown is not None and _what(one).items() <= shown.items()


def _what(one: Owing) -> dict[str, str]:
    """What has to be shown anew when it changes: who owes, and how much."""
    plate = one.session.plate
    who = {"ticket": plate[1:]} if plate.startswith(TICKET_SIGN) else {"plate": plate}
    amount = round_half_up(one.quote.before_leaving, minor_digits(one.quote.currency))
    return {**who, "amount": str(amount), "currency": one.quote.currency}


def _wish(one: Owing, zone: ZoneInfo, by_phone: bool, actor: str) -> Wish:
    device_id = one.waiting.device_id
    assert device_id is not None, "it was told by its lane"
    arguments = {"passage": str(one.waiting.passage_id), **_what(one), "text": _text(one.quote, by_phone)}
    entered_at = one.session.entered_at
    if entered_at is not None and one.session.entry_seen:
        arguments["minutes"] = str((one.quote.until - entered_at) // _MINUTE)
        arguments["since"] = entered_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    return Wish(device_id, Action.SHOW_DUE, arguments, actor, "due at the exit", _TOLD_WITHIN)


def _text(quote: Quote, by_phone: bool) -> str:
    said = {"amount": i18n.show_money(quote.before_leaving, quote.currency)}
    if by_phone:
        return _("Please pay %(amount)s: by phone with the QR code on the sign") % said
    return _("Please pay %(amount)s") % said
