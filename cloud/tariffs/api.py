"""REST: tariffs and their versions."""

from typing import Annotated

from fastapi import APIRouter

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.paging import page_request
from cloud.tariffs import service
from cloud.tariffs.documents import TariffOut, TariffPage, TariffVersionIn, TariffVersionOut

router = APIRouter(prefix="/api/v1", tags=["tariffs"])


@router.get("/tariffs")
async def list_tariffs(
    scope: Annotated[Scope, allow("tariffs.read")],
    limit: int | None = None,
    cursor: str | None = None,
    project_id: int | None = None,
) -> TariffPage:
    """Tariffs by id, with all their versions."""
    page = await service.list_tariffs(scope.conn, page_request(limit, cursor), project_id)
    versions = await service.versions_of(scope.conn, [tariff.id for tariff in page.items])
    items = [TariffOut.of(tariff, versions[tariff.id]) for tariff in page.items]
    return TariffPage(items=items, next_cursor=page.next_cursor)


@router.post("/tariff-versions", status_code=201)
async def publish(
    body: TariffVersionIn, scope: Annotated[Scope, allow("tariffs.write")], once: Once
) -> TariffVersionOut:
    """Publishes a version. It never changes afterwards; the version before it ends on its first day."""

    async def make() -> TariffVersionOut:
        version = await service.publish(
            scope.conn,
            body.project_id,
            body.code,
            body.name,
            body.service,
            body.content,
            body.valid_from,
            scope.caller.user_id,
        )
        return TariffVersionOut.of(version)

    return await once.answer(scope.conn, TariffVersionOut, make)
