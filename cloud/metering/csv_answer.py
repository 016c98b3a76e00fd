"""A table of a page as a CSV file that spreadsheets open as it is."""

import csv
import io
from collections.abc import Iterable, Sequence

from starlette.responses import Response


def csv_answer(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """The file `name`. It begins with a byte order mark, without which Excel takes Chinese for another encoding."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return Response(
        text.getvalue().encode("utf-8-sig"),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would calculate is kept a text; numbers are what they are."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "@", "\t", "\r") else cell
