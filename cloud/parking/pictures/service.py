"""Pictures of vehicles: ordered from the gateway that has them, taken by their links, shown, forgotten."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, Forbidden, InvalidInput, NotFound
from cloud.parking.pictures import repository
from cloud.parking.pictures.links import MAX_BYTES, Claim, Links
from cloud.parking.pictures.repository import WantedPicture
from gateway.contract.messages import Action

SYSTEM_ACTOR: Final = "system:pictures"
USUAL_DAYS: Final = 90
LINK_GOOD_FOR: Final = timedelta(minutes=10)
ORDER_GOOD_FOR: Final = timedelta(minutes=5)
"""Shorter than the link: an order that is carried out late still finds its link open."""
WANTED_FOR: Final = timedelta(days=1)
"""A picture of an incident that is older is asked for by hand."""
WAITS_AT_MOST: Final = timedelta(minutes=30)
ASK_AGAIN_AFTER: Final = timedelta(minutes=1)
TRIES: Final = 3
_AT_ONCE: Final = 50
_JPEG: Final = b"\xff\xd8\xff"


async def ask_wanted(conn: Conn, links: Links, now: datetime) -> int:
    """Orders the pictures that are wanted and not here: waiting at barriers, incidents, openings by hand; how many."""
    if not links.usable:
        return 0
    found = await repository.wanted(conn, now - WANTED_FOR, now - WAITS_AT_MOST, now - ASK_AGAIN_AFTER, TRIES, _AT_ONCE)
    return sum([await _order(conn, links, picture, SYSTEM_ACTOR, now) is not None for picture in found])


async def ask(conn: Conn, links: Links, passage_id: UUID, actor: str, at: datetime | None = None) -> UUID | None:
    """Orders one picture because somebody wants it; None when it is on its way already.

    Raises NotFound when no gateway has one, Conflict when it is here, when gateways cannot reach the cloud by a link,
    or when this one sends no pictures.
    """
    now = at or datetime.now(UTC)
    picture = await repository.one(conn, passage_id)
    if picture is None:
        raise NotFound("no-picture", f"no picture was taken of passage {passage_id}", field="passage_id")
    if await repository.is_here(conn, passage_id):
        raise Conflict("picture-here", "this picture is here already")
    if not links.usable:
        raise Conflict("no-public-url", "gateways reach the cloud only by https: its public address is not set")
    if await repository.pending(conn, passage_id, now):
        return None
    command_id = await _order(conn, links, picture, actor, now)
    if command_id is None:
        raise Conflict("cannot", "the gateway says that it cannot send pictures")
    return command_id


async def take(conn: Conn, claim: Claim, content: bytes) -> None:
    """Keeps the picture that a link brought. The link was checked; here it is used up.

    Raises Forbidden when it was used before, InvalidInput for what is too large or no JPEG.
    """
    if len(content) > min(claim.most, MAX_BYTES):
        raise InvalidInput("photo-too-large", f"expected at most {claim.most} bytes", field="body")
    if not content.startswith(_JPEG):
        raise InvalidInput("bad-photo", "expected a JPEG picture", field="body")
    if not await repository.use(conn, claim.project, claim.passage, claim.request):
        raise Forbidden("link-used", "this link was used before")
    await repository.keep(conn, claim.project, claim.passage, content, hashlib.sha256(content).digest())


async def is_here(conn: Conn, passage_id: UUID) -> bool:
    """Whether the picture of a passage was fetched and is not forgotten."""
    return await repository.is_here(conn, passage_id)


async def get_picture(conn: Conn, passage_id: UUID) -> bytes:
    """The JPEG of a passage. Raises NotFound."""
    found = await repository.content(conn, passage_id)
    if found is None:
        raise NotFound("no-picture", f"there is no picture of passage {passage_id} here", field="passage_id")
    return found


async def forget(conn: Conn, now: datetime, limit: int) -> int:
    """Deletes up to `limit` pictures that were kept for as long as their project says; answers how many."""
    return await repository.forget(conn, now, USUAL_DAYS, limit)


async def kept_days(conn: Conn, project_id: int) -> int:
    """For how many days a project keeps pictures. Raises NotFound."""
    project = await estate.get_project(conn, project_id)
    found = await repository.kept_days(conn, project.id)
    return USUAL_DAYS if found is None else found


async def set_kept_days(conn: Conn, project_id: int, days: int) -> None:
    """Says so. Raises NotFound, InvalidInput."""
    if not 1 <= days <= 3650:
        raise InvalidInput("bad-days", "expected 1 to 3650 days", field="kept_days")
    project = await estate.get_project(conn, project_id)
    await repository.set_kept_days(conn, project.id, days)


async def _order(conn: Conn, links: Links, picture: WantedPicture, actor: str, now: datetime) -> UUID | None:
    """The command with the link; None when the gateway cannot, which is kept, so that it is not asked for ever."""
    expires_at = now + LINK_GOOD_FOR
    request_id = await repository.insert_request(conn, picture, actor, now, expires_at)
    claim = Claim(picture.project_id, picture.passage_id, request_id, int(expires_at.timestamp()), MAX_BYTES)
    arguments = {"passage": str(picture.passage_id), "link": links.link(claim)}
    try:
        command_id = await devices.queue_command(
            conn, picture.project_id, picture.device_id, Action.SEND_PICTURE, arguments, actor,
            f"picture: {picture.why}", ORDER_GOOD_FOR,
        )  # fmt: skip
    except Conflict:
        return None
    await repository.note_order(conn, request_id, command_id)
    return command_id
