"""REST: black and white lists."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking.lists import service
from cloud.parking.lists.models import EndIn, EntryIn, EntryOut, EntryQuery

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-list-entries")
async def list_entries(scope: Reader, query: Annotated[EntryQuery, Query()]) -> Listed[EntryOut]:
    """Plates on the lists, the newest first, those that were taken off too; residents see none."""
    page = await service.list_entries(scope.conn, query.page(), query.wanted())
    now = datetime.now(UTC)
    return Listed(items=[EntryOut.of(entry, now) for entry in page.items], next_cursor=page.next_cursor)


@router.post("/parking-list-entries", status_code=201)
async def add_entry(body: EntryIn, scope: Writer, once: Once) -> EntryOut:
    """Puts a plate on a list; the lanes know within seconds, and keep to it without the cloud."""

    async def make() -> EntryOut:
        now = datetime.now(UTC)
        return EntryOut.of(await service.add(scope.conn, body.new(now), scope.caller.actor, now), now)

    return await once.answer(scope.conn, EntryOut, make)


@router.get("/parking-list-entries/{entry_id}")
async def get_entry(entry_id: Id, scope: Reader) -> EntryOut:
    """One entry."""
    return EntryOut.of(await service.get(scope.conn, entry_id), datetime.now(UTC))


@router.post("/parking-list-entries/{entry_id}/end", status_code=201)
async def end_entry(entry_id: Id, body: EndIn, scope: Writer, once: Once) -> EntryOut:
    """Takes a plate off its list now, with the reason; the entry itself is kept."""

    async def make() -> EntryOut:
        now = datetime.now(UTC)
        return EntryOut.of(await service.end(scope.conn, entry_id, body.reason, scope.caller.actor, now), now)

    return await once.answer(scope.conn, EntryOut, make)
