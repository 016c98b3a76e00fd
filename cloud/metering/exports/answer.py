"""Files of readings and usage as they are asked for, made while they are sent."""

from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import Request
from pydantic import Field
from starlette.responses import StreamingResponse
from starlette.types import Send

from cloud.identity.guards import Scope
from cloud.kit.db import Conn
from cloud.metering.consumption.selection import Grouping
from cloud.metering.exports.making import READING_DAYS, USAGE_DAYS, Export, readings_export, usage_export, written
from cloud.metering.exports.table_files import MEDIA_TYPES, Format
from cloud.metering.readings.place_query import PlaceQuery, place_of
from cloud.metering.readings.placed import Connect
from cloud.metering.records import Step


class ReadingFileQuery(PlaceQuery):
    """All readings of one register of every meter of a place."""

    form: Annotated[Format, Field(alias="format")] = "csv"


class UsageFileQuery(ReadingFileQuery):
    """Usage of a place in steps."""

    step: Step = "day"
    group: Grouping = "total"


class Download(StreamingResponse):
    """The file of an export.

    What fails before the first part is ready is answered as any error. Later the connection is broken off, so that
    nobody takes half a file for a whole one. When the reader goes away, so does the work.
    """

    def __init__(self, export: Export, form: Format) -> None:
        self._parts = written(export, form)
        super().__init__(
            self._parts,
            media_type=MEDIA_TYPES[form],
            headers={
                "Content-Disposition": f'attachment; filename="{export.name}.{form}"',
                "Cache-Control": "no-store",
            },
        )

    async def stream_response(self, send: Send) -> None:
        """Sends the parts; the head goes with the first of them."""
        async with aclosing(self._parts) as parts:
            first = await anext(parts, b"")
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def asked_readings(conn: Conn, connect: Connect, query: ReadingFileQuery) -> Export:
    """The readings that are asked for. Raises NotFound, InvalidInput."""
    period = query.days(READING_DAYS, "readings")
    return await readings_export(conn, connect, await place_of(conn, query), period, query.form)


async def asked_usage(conn: Conn, connect: Connect, query: UsageFileQuery) -> Export:
    """The usage that is asked for. Raises NotFound, InvalidInput."""
    period = query.days(USAGE_DAYS[query.step], f"step {query.step}")
    place = await place_of(conn, query)
    return await usage_export(conn, connect, place, period, query.step, query.group, query.form)


async def readings_file(request: Request, scope: Scope, query: ReadingFileQuery) -> Download:
    """The answer with this file. Raises NotFound, InvalidInput."""
    return Download(await asked_readings(scope.conn, _connect(request, scope), query), query.form)


async def usage_file(request: Request, scope: Scope, query: UsageFileQuery) -> Download:
    """The answer with this file. Raises NotFound, InvalidInput."""
    return Download(await asked_usage(scope.conn, _connect(request, scope), query), query.form)


def _connect(request: Request, scope: Scope) -> Connect:
    """Transactions in the name of the caller, for what is read after that of the request has ended."""
    return partial(request.app.state.db.transaction, scope.caller.asker(scope.request_id))
