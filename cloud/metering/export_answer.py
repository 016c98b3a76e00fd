"""A file that is made while it is sent."""

from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Send

from cloud.metering.exports import Export, written
from cloud.metering.table_files import MEDIA_TYPES, Format


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
