"""`gatemeter readings export` and `gatemeter usage export`: files of any length, as the API gives them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloud.commands.console import OwnerDsn, fail, finish

if TYPE_CHECKING:
    from cloud.estate.records import Project
    from cloud.kit.db import Conn
    from cloud.metering.exports.making import Export
    from cloud.metering.exports.table_files import Format

File = Annotated[Path, typer.Argument(help="What to write; it ends in .csv, .parquet or .xlsx.", show_default=False)]
ProjectCode = Annotated[str, typer.Option(help="Code of the project.", show_default=False)]
From = Annotated[str, typer.Option("--from", help="First local day of the project.", show_default=False)]
To = Annotated[str, typer.Option(help="Local day that is the first not wanted.", show_default=False)]
MeterCode = Annotated[str | None, typer.Option(help="Only this meter.", show_default=False)]
BuildingCode = Annotated[str | None, typer.Option(help="Only this building.", show_default=False)]
MediumOption = Annotated[Literal["electricity", "water", "heat"], typer.Option(help="Of a project or building.")]
Channel = Annotated[
    str | None, typer.Option(help="Such as energy_import_peak; the billed one unless named.", show_default=False)
]


def export_readings(
    file: File,
    dsn: OwnerDsn,
    project: ProjectCode,
    start: From,
    to: To,
    meter: MeterCode = None,
    building: BuildingCode = None,
    medium: MediumOption = "electricity",
    channel: Channel = None,
) -> None:
    """Writes readings of a project, a building or a meter, with the edits in force, by meter and time.

    Example: gatemeter readings export 2026.parquet --project sunshine --from 2026-01-01 --to 2027-01-01
    """
    asked = {"medium": medium, "channel": channel, "from": start, "to": to}
    finish(_export(dsn, file, "readings", project, meter, building, asked))


def export_usage(
    file: File,
    dsn: OwnerDsn,
    project: ProjectCode,
    start: From,
    to: To,
    step: Annotated[Literal["15min", "30min", "hour", "day", "month"], typer.Option(help="Length of a row.")] = "day",
    group: Annotated[
        Literal["total", "meter", "unit", "building"], typer.Option(help="What has rows of its own.")
    ] = "total",
    meter: MeterCode = None,
    building: BuildingCode = None,
    medium: MediumOption = "electricity",
    channel: Channel = None,
) -> None:
    """Writes usage of a project, a building or a meter in steps; a sub-meter is never added to its master.

    Example: gatemeter usage export march.xlsx --project sunshine --from 2026-03-01 --to 2026-04-01 --group unit
    """
    asked = {"medium": medium, "channel": channel, "from": start, "to": to, "step": step, "group": group}
    finish(_export(dsn, file, "usage", project, meter, building, asked))


async def project_named(conn: "Conn", code: str) -> "Project":
    """The project with this code. Raises NotFound."""
    from cloud.estate import service as estate
    from cloud.kit.errors import NotFound

    found = next((one for one in await estate.projects(conn) if one.code == code), None)
    if found is None:
        raise NotFound("no-project", f"there is no project {code}", field="project")
    return found


async def _export(
    dsn: str,
    file: Path,
    what: Literal["readings", "usage"],
    project: str,
    meter: str | None,
    building: str | None,
    asked: Mapping[str, str | None],
) -> None:
    from functools import partial

    from pydantic import ValidationError

    from cloud.kit.db import SYSTEM, Database
    from cloud.metering.exports.answer import ReadingFileQuery, UsageFileQuery, asked_readings, asked_usage

    async with Database(dsn, "gatemeter_worker", max_size=2, timeout_s=5.0) as db:
        connect = partial(db.transaction, SYSTEM.named("command-line"))
        async with connect() as conn:
            place = await _place(conn, project, meter, building)
            said = {name: value for name, value in asked.items() if value is not None}
            given: dict[str, object] = {**said, **place, "format": file.suffix.removeprefix(".")}
            try:
                if what == "readings":
                    query = ReadingFileQuery.model_validate(given)
                    export = await asked_readings(conn, connect, query)
                else:
                    query = UsageFileQuery.model_validate(given)
                    export = await asked_usage(conn, connect, query)
            except ValidationError as error:
                fail("; ".join(f"{one['loc'][0] if one['loc'] else 'place'}: {one['msg']}" for one in error.errors()))
        await _write(export, query.form, file)


async def _place(conn: "Conn", project: str, meter: str | None, building: str | None) -> dict[str, object]:
    """The place in the words of the API. Raises NotFound."""
    from cloud.estate import service as estate
    from cloud.estate.service import EstateFilter
    from cloud.kit.errors import NotFound
    from cloud.kit.paging import PageRequest
    from cloud.metering import service

    project_id = (await project_named(conn, project)).id
    place: dict[str, object] = {}
    if meter is not None:
        found = await service.meter_by_code(conn, project_id, meter)
        if found is None:
            raise NotFound("no-meter", f"the project has no meter {meter}", field="meter")
        place["meter_id"] = found.id
    if building is not None:
        buildings = await estate.list_buildings(conn, PageRequest(10_000), EstateFilter(project_id=project_id))
        number = next((one.id for one in buildings.items if one.code == building), None)
        if number is None:
            raise NotFound("no-such-building", f"the project has no building {building}", field="building")
        place["building_id"] = number
    return place or {"project_id": project_id}


async def _write(export: "Export", form: "Format", file: Path) -> None:
    """Under its name there is the whole file or none."""
    from contextlib import aclosing

    from cloud.metering.exports.making import written

    unfinished = file.with_name(f"{file.name}.part")
    try:
        with unfinished.open("wb") as out:
            async with aclosing(written(export, form)) as parts:
                async for part in parts:
                    out.write(part)
        unfinished.replace(file)
    except OSError as error:
        fail(f"{file}: expected a place to write to ({error.strerror})")
    finally:
        unfinished.unlink(missing_ok=True)
