"""Bindings of devices to meters: their history, and how one ends or is taken back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

from cloud.devices import repository
from cloud.devices.cursors import after_number
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest, cut

_BINDING: LiteralString = """
    SELECT b.id, b.project_id, b.device_id, d.gateway_id, d.code AS device_code, g.code AS gateway_code, b.meter_id,
           lower(b.valid) AS valid_from, upper(b.valid) AS valid_until
    FROM device_binding b JOIN device d ON d.id = b.device_id JOIN gateway g ON g.id = d.gateway_id
"""
_LIST: LiteralString = (
    _BINDING
    + """
    WHERE (%(project_id)s::bigint IS NULL OR b.project_id = %(project_id)s)
      AND (%(device_id)s::bigint IS NULL OR b.device_id = %(device_id)s)
      AND (%(meter_id)s::bigint IS NULL OR b.meter_id = %(meter_id)s)
      AND (%(before)s::bigint IS NULL OR b.id < %(before)s)
    ORDER BY b.id DESC LIMIT %(limit)s
"""
)
_OVERLAPPING: LiteralString = (
    _BINDING
    + """
    WHERE (b.device_id = %(device_id)s OR b.meter_id = %(meter_id)s) AND b.id IS DISTINCT FROM %(but)s
      AND b.valid && tstzrange(%(valid_from)s, %(valid_until)s)
    ORDER BY b.device_id <> %(device_id)s, lower(b.valid) LIMIT 1
"""
)


@dataclass(frozen=True, slots=True)
class BoundDevice:
    """From `valid_from` to `valid_until` (None: still) the device's readings are the meter's."""

    id: int
    project_id: int
    device_id: int
    gateway_id: int
    device_code: str
    gateway_code: str
    meter_id: int
    valid_from: datetime
    valid_until: datetime | None

    def holds_at(self, instant: datetime) -> bool:
        """Whether it is in force at an instant."""
        return self.valid_from <= instant and (self.valid_until is None or instant < self.valid_until)


async def list_bindings(
    conn: Conn,
    page: PageRequest,
    project_id: int | None = None,
    *,
    device_id: int | None = None,
    meter_id: int | None = None,
) -> Page[BoundDevice]:
    """Bindings, the last made first."""
    query = {
        "project_id": project_id,
        "device_id": device_id,
        "meter_id": meter_id,
        "before": after_number(page),
        "limit": page.limit + 1,
    }
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([BoundDevice(**row) for row in rows], page, lambda found: (found.id,))


async def get_binding(conn: Conn, binding_id: int) -> BoundDevice:
    """Raises NotFound."""
    row = await (await conn.execute(_BINDING + " WHERE b.id = %s", (binding_id,))).fetchone()
    if row is None:
        raise NotFound("no-binding", f"there is no binding {binding_id}", field="binding_id")
    return BoundDevice(**row)


async def refuse_overlap(
    conn: Conn,
    device_id: int,
    meter_id: int,
    valid_from: datetime,
    valid_until: datetime | None,
    *,
    but: int | None = None,
) -> None:
    """Raises Conflict that names the binding in the way; `but` is the one that is changed itself."""
    query = {
        "device_id": device_id, "meter_id": meter_id, "valid_from": valid_from, "valid_until": valid_until, "but": but,
    }  # fmt: skip
    row = await (await conn.execute(_OVERLAPPING, query)).fetchone()
    if row is None:
        return
    other = BoundDevice(**row)
    until = "on" if other.valid_until is None else f"until {_said(other.valid_until)}"
    raise Conflict(
        "binding-overlap",
        f"device {other.gateway_code}/{other.device_code} carries meter {other.meter_id} from"
        f" {_said(other.valid_from)} {until} (binding {other.id})",
        field="device_id" if other.device_id == device_id else "meter_id",
        binding_id=other.id,
    )


async def end_binding(conn: Conn, binding_id: int, at: datetime) -> BoundDevice:
    """From `at` on the device's readings are no longer the meter's; those that came already stay where they are.

    Raises NotFound, and InvalidInput when it has not begun by then or has ended before.
    """
    binding = await get_binding(conn, binding_id)
    await repository.lock_for_change(conn, binding.gateway_id)
    if at <= binding.valid_from or (binding.valid_until is not None and at > binding.valid_until):
        raise InvalidInput("bad-period", f"expected a time within the binding, after {_said(binding.valid_from)}",
                           field="at")  # fmt: skip
    await conn.execute("UPDATE device_binding SET valid = tstzrange(lower(valid), %s) WHERE id = %s", (at, binding_id))
    return await get_binding(conn, binding_id)


async def reopen_binding(conn: Conn, binding_id: int) -> None:
    """As if it had never ended. Raises NotFound, and Conflict when another one follows it."""
    binding = await get_binding(conn, binding_id)
    await repository.lock_for_change(conn, binding.gateway_id)
    await refuse_overlap(conn, binding.device_id, binding.meter_id, binding.valid_from, None, but=binding_id)
    await conn.execute("UPDATE device_binding SET valid = tstzrange(lower(valid), NULL) WHERE id = %s", (binding_id,))


async def take_back_binding(conn: Conn, binding_id: int) -> None:
    """As if it had never been made; the audit trail keeps it. Raises NotFound."""
    binding = await get_binding(conn, binding_id)
    await repository.lock_for_change(conn, binding.gateway_id)
    await conn.execute("DELETE FROM device_binding WHERE id = %s", (binding_id,))


def _said(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds")
