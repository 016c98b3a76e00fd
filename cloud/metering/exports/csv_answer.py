"""A table of a page as a CSV file that spreadsheets open as it is."""

from collections.abc import Iterable, Sequence

from starlette.responses import Response

from cloud.metering.exports.table_files import CSV_MEDIA_TYPE, csv_head, csv_text


def csv_answer(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """The whole file `name` at once; long ones are streamed by `export_answer`."""
    return Response(
        (csv_head(header) + csv_text(rows)).encode(),
        media_type=CSV_MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
