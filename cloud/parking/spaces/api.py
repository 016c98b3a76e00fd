"""REST: spaces, and whose they are."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

from fastapi import File, Form, Query, Request, UploadFile

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking.people import person_named
from cloud.parking.spaces import importing, service
from cloud.parking.spaces.models import (
    HolderEndIn,
    HolderIn,
    HolderOut,
    RowAnswer,
    SpaceImportOut,
    SpaceIn,
    SpaceOut,
    SpacePatch,
    SpaceQuery,
    SpaceRangeIn,
    SpaceRangeOut,
    content_of,
)

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-spaces")
async def list_spaces(scope: Reader, query: Annotated[SpaceQuery, Query()]) -> Listed[SpaceOut]:
    """Spaces by id; residents see those that are or were theirs."""
    page = await service.list_spaces(scope.conn, query.page(), query.wanted(), _now())
    return Listed(items=[SpaceOut.model_validate(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/parking-spaces", status_code=201)
async def create_space(body: SpaceIn, scope: Writer, once: Once) -> SpaceOut:
    """A new space, its number unique in the lot."""

    async def make() -> SpaceOut:
        return SpaceOut.model_validate(
            await service.create(scope.conn, body.lot_id, body.new(body.number), _now())
        )  # fmt: skip

    return await once.answer(scope.conn, SpaceOut, make)


@router.post("/parking-space-ranges", status_code=201)
async def create_range(body: SpaceRangeIn, scope: Writer, once: Once) -> SpaceRangeOut:
    """Spaces from the first number to the last, all of them or none."""

    async def make() -> SpaceRangeOut:
        numbers = await service.create_range(scope.conn, body.lot_id, body.first, body.last, body.new(body.first))
        return SpaceRangeOut(numbers=numbers)

    return await once.answer(scope.conn, SpaceRangeOut, make)


@router.post("/parking-space-imports", status_code=201)
async def import_spaces(
    request: Request,
    scope: Writer,
    once: Once,
    file: Annotated[
        UploadFile, File(description="CSV or XLSX: number, and place, class, state, owner, since. At most 4 MiB.")
    ],
    lot_id: Annotated[Id, Form()],
    dry_run: Annotated[bool, Form(description="Only say what would happen.")] = False,
) -> SpaceImportOut:
    """Spaces from a table: every row is answered, and those that are good are made (docs/parking.md)."""

    async def named(project_id: int, text: str) -> int:
        return await person_named(request, scope, project_id, text)

    async def make() -> SpaceImportOut:
        content = await content_of(file)
        actor = scope.caller.actor
        rows = await importing.import_table(scope.conn, lot_id, content, _now(), named, actor, dry_run=dry_run)
        count = Counter(row.outcome for row in rows)
        return SpaceImportOut(
            created=count["created"],
            owner_added=count["owner-added"],
            exists=count["exists"],
            refused=count["refused"],
            rows=[RowAnswer.model_validate(row) for row in rows],
        )

    return await once.answer(scope.conn, SpaceImportOut, make)


@router.get("/parking-spaces/{space_id}")
async def get_space(space_id: Id, scope: Reader) -> SpaceOut:
    """One space."""
    return SpaceOut.model_validate(await service.get(scope.conn, space_id, _now()))


@router.patch("/parking-spaces/{space_id}")
async def change_space(space_id: Id, body: SpacePatch, scope: Writer) -> SpaceOut:
    """Changes what is said of a space."""
    now = _now()
    changed = body.changed(await service.get(scope.conn, space_id, now))
    return SpaceOut.model_validate(await service.change(scope.conn, changed, now))


@router.get("/parking-spaces/{space_id}/holders")
async def list_holders(space_id: Id, scope: Reader) -> Listed[HolderOut]:
    """Whose a space is and was, the last first."""
    await service.get(scope.conn, space_id, _now())
    found = await service.holders_of(scope.conn, [space_id])
    return Listed(items=[HolderOut.model_validate(one) for one in found], next_cursor=None)


@router.post("/parking-spaces/{space_id}/holders", status_code=201)
async def add_holder(space_id: Id, body: HolderIn, scope: Writer, once: Once) -> HolderOut:
    """A space becomes somebody's, as owner or tenant."""

    async def make() -> HolderOut:
        made = await service.add_holder(scope.conn, space_id, body.new(), scope.caller.actor, _now())
        return HolderOut.model_validate(made)

    return await once.answer(scope.conn, HolderOut, make)


@router.post("/parking-space-holders/{holder_id}/end", status_code=201)
async def end_holder(holder_id: Id, body: HolderEndIn, scope: Writer, once: Once) -> HolderOut:
    """From a day on the space is no longer his; that it was is kept."""

    async def make() -> HolderOut:
        return HolderOut.model_validate(await service.end_holder(scope.conn, holder_id, body.until))

    return await once.answer(scope.conn, HolderOut, make)


def _now() -> datetime:
    return datetime.now(UTC)
