"""Publishing tariff versions and finding the one in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.errors import ExclusionViolation

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period
from cloud.tariffs import repository
from cloud.tariffs.drafts import repository as draft_repository
from cloud.tariffs.model.tariff import TariffContent, content_hash
from cloud.tariffs.repository import Tariff, VersionRow

__all__ = [
    "Tariff",
    "TariffVersion",
    "check_place",
    "check_version",
    "get_version",
    "list_tariffs",
    "publish",
    "tariff_of_code",
    "version_on",
    "versions_between",
    "versions_by_id",
    "versions_of",
]


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """One published version of a tariff: valid from `valid_from` up to, not including, `valid_until`."""

    id: int
    tariff_id: int
    version: int
    valid_from: date
    valid_until: date | None
    content: TariffContent
    hash: str


async def publish(
    conn: Conn,
    project_id: int,
    code: str,
    name: str,
    service: str,
    content: TariffContent,
    valid_from: date,
    published_by: int | None = None,
) -> TariffVersion:
    """Publishes a version from `valid_from` on; the version open until then ends there.

    Raises InvalidInput when service or currency do not fit, and what `check_version` raises.
    """
    if content.service != service:
        raise InvalidInput("other-service", f"expected {service!r}, got {content.service!r}", field="content.service")
    await check_version(conn, project_id, code, content, valid_from)
    tariff = await repository.upsert_tariff(conn, project_id=project_id, code=code, name=name, service=service)
    try:
        async with conn.transaction():
            row = await repository.insert_version(
                conn,
                tariff,
                valid_from=valid_from,
                content=content.model_dump(mode="json"),
                content_hash=content_hash(content),
                published_by=published_by,
            )
    except ExclusionViolation as error:
        raise _overlap(code, valid_from) from error
    return _version(row)


async def check_version(conn: Conn, project_id: int, code: str, content: TariffContent, valid_from: date) -> None:
    """Whether a version could be published from that day on.

    Raises InvalidInput for another currency, Conflict for another service than the tariff is for, when bills charge
    that day already, or when a version begins on or after it.
    """
    project = await estate.get_project(conn, project_id)
    if content.currency != project.currency:
        raise InvalidInput(
            "other-currency", f"expected {project.currency}, got {content.currency}", field="content.currency"
        )
    tariff = await repository.tariff_of_code(conn, project_id, code)
    if tariff is None:
        return
    if tariff.service != content.service:
        raise Conflict("other-service", f"tariff {code} is for {tariff.service}", field="service")
    charged = await draft_repository.charged_until(conn, project_id, code)
    if charged is not None and valid_from <= charged:
        raise Conflict(
            "already-billed",
            f"bills charge by tariff {code} up to {charged}: begin a version on a later day",
            field="valid_from",
            last_day=charged,
        )
    versions = await repository.versions_of(conn, [tariff.id])
    if versions and valid_from <= versions[-1].valid_from:
        raise _overlap(code, valid_from)


def _overlap(code: str, valid_from: date) -> Conflict:
    detail = f"tariff {code} has a version that begins on or after {valid_from}"
    return Conflict("versions-overlap", detail, field="valid_from")


async def check_place(conn: Conn, project_id: int) -> None:
    """Raises NotFound unless the project is there."""
    await estate.get_project(conn, project_id)


async def tariff_of_code(conn: Conn, project_id: int, code: str) -> Tariff | None:
    """The tariff of this code, or None."""
    return await repository.tariff_of_code(conn, project_id, code)


async def get_version(conn: Conn, version_id: int) -> tuple[Tariff, TariffVersion]:
    """A published version and its tariff. Raises NotFound."""
    found = await repository.version(conn, version_id)
    if found is None:
        raise NotFound("no-tariff-version", f"there is no tariff version {version_id}", field="version_id")
    tariff, row = found
    return tariff, _version(row)


async def version_on(conn: Conn, tariff_id: int, day: date) -> TariffVersion | None:
    """The version in force on a local day, or None."""
    row = await repository.version_on(conn, tariff_id, day)
    return None if row is None else _version(row)


async def versions_between(conn: Conn, tariff_ids: Sequence[int], period: Period) -> dict[int, list[TariffVersion]]:
    """The versions in force on any day of `period`, in order of time, by tariff."""
    rows = await repository.versions_between(conn, tariff_ids, period.start, period.end)
    return _by_tariff(tariff_ids, rows)


async def versions_of(conn: Conn, tariff_ids: Sequence[int]) -> dict[int, list[TariffVersion]]:
    """All versions in order of time, by tariff."""
    return _by_tariff(tariff_ids, await repository.versions_of(conn, tariff_ids))


async def versions_by_id(conn: Conn, ids: Sequence[int]) -> dict[int, TariffVersion]:
    """These versions by id; those that do not exist are left out."""
    return {row.id: _version(row) for row in await repository.versions_by_id(conn, ids)}


async def list_tariffs(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[Tariff]:
    """Tariffs in order of id."""
    rows = await repository.list_tariffs(conn, project_id, after=after_id(page), limit=page.limit + 1)
    return cut(rows, page, lambda tariff: (tariff.id,))


def _by_tariff(tariff_ids: Sequence[int], rows: Sequence[VersionRow]) -> dict[int, list[TariffVersion]]:
    found: dict[int, list[TariffVersion]] = {tariff_id: [] for tariff_id in tariff_ids}
    for row in rows:
        found[row.tariff_id].append(_version(row))
    return found


def _version(row: VersionRow) -> TariffVersion:
    return TariffVersion(
        id=row.id,
        tariff_id=row.tariff_id,
        version=row.version,
        valid_from=row.valid_from,
        valid_until=row.valid_until,
        content=TariffContent.model_validate(row.content),
        hash=row.content_hash.hex(),
    )
