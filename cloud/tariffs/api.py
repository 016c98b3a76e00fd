"""REST: tariffs and their versions."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Listed, ListQuery
from cloud.kit.routing import rest_router, take_in
from cloud.tariffs import service
from cloud.tariffs.drafts import service as drafting
from cloud.tariffs.drafts.api import router as drafts
from cloud.tariffs.files.checking import read
from cloud.tariffs.models import TariffOut, TariffVersionIn, TariffVersionOut

router = rest_router("tariffs")
take_in(router, drafts)


@router.get("/tariffs")
async def list_tariffs(
    scope: Annotated[Scope, allow("tariffs.read")], query: Annotated[ListQuery, Query()]
) -> Listed[TariffOut]:
    """Tariffs by id, with all their versions."""
    page = await service.list_tariffs(scope.conn, query.page(), query.project_id)
    versions = await service.versions_of(scope.conn, [tariff.id for tariff in page.items])
    items = [TariffOut.of(tariff, versions[tariff.id]) for tariff in page.items]
    return Listed(items=items, next_cursor=page.next_cursor)


@router.post("/tariff-versions", status_code=201)
async def publish(
    body: TariffVersionIn, scope: Annotated[Scope, allow("tariffs.approve")], once: Once
) -> TariffVersionOut:
    """Publishes a version. It never changes afterwards; the version before it ends on its first day.

    For programs of projects that let people approve what they wrote; else 403: hand a draft in. Content with mistakes
    is refused with all of them, each with its field.
    """

    async def make() -> TariffVersionOut:
        await drafting.own_approval(scope.conn, body.project_id)
        version = await service.publish(
            scope.conn,
            body.project_id,
            body.code,
            body.name,
            body.service,
            read(body.content),
            body.valid_from,
            scope.caller.user_id,
        )
        return TariffVersionOut.of(version)

    return await once.answer(scope.conn, TariffVersionOut, make)
