"""Cursors of lists by time: milliseconds since 1970, and texts that tell rows of one moment apart."""

from uuid import UUID

from cloud.kit.errors import InvalidInput
from cloud.kit.paging import PageRequest

FARTHEST_MS = 10**14
"""Milliseconds since 1970 beyond which PostgreSQL has no time to compare with: about the year 5000."""


def after_passage(page: PageRequest) -> dict[str, object]:
    """`after_ms`, `after_id` (a UUID) and `after_kind` of the last row shown, all None on the first page.

    The key may leave out the kind. Raises InvalidInput.
    """
    if page.after is None:
        return {"after_ms": None, "after_id": None, "after_kind": None}
    moment, name, kind = (*page.after, "")[:3]
    try:
        passage_id = UUID(str(name))
    except ValueError:
        passage_id = None
    if not isinstance(moment, int) or abs(moment) > FARTHEST_MS or passage_id is None or "\0" in str(kind):
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return {"after_ms": moment, "after_id": passage_id, "after_kind": str(kind)}
