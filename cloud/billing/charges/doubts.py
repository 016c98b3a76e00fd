"""Open findings about what pieces are billed by: of each those about its own days and readings, not its neighbours'."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from cloud.billing.charges.pieces import Piece
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import local_day, month_of
from cloud.metering.exceptions.parts import PartOfMonth, unlike
from cloud.metering.exceptions.service import open_exceptions
from cloud.metering.records import MeterException


class Doubts:
    """Open findings that stop meters from being billed by their readings.

    A finding about days is about whoever is charged for one of them; one about a reading is about the charges that end
    and that begin with it. That a month is unlike the one before (V9) tells of the month alone: where the meter
    changed hands in it, it is about those whose days are unlike it by themselves.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._open: dict[int, list[MeterException]] = defaultdict(list)
        self._of_others: set[tuple[int, int]] = set()
        """Agreements and findings about months of which their days are as usual."""

    async def load(self, conn: Conn, pieces: Sequence[Piece], start: datetime, end: datetime) -> None:
        """Reads what is open about the meters of these pieces in [start, end)."""
        meter_ids = {piece.agreement.meter_id for piece in pieces if piece.agreement.meter_id is not None}
        for one in await open_exceptions(conn, self._project.id, meter_ids, start, end):
            self._open[one.meter_id].append(one)
        parts = {
            (piece.agreement.id, one.id): part
            for piece in pieces
            for one in self._about(piece)
            if one.rule == "high-low" and (part := self._part(piece, one)) is not None
        }
        told = await unlike(conn, list(parts.values()))
        self._of_others = {key for key, its_own in zip(parts, told, strict=True) if not its_own}

    def of(self, piece: Piece) -> list[MeterException]:
        """Those that are about the piece."""
        return [one for one in self._about(piece) if (piece.agreement.id, one.id) not in self._of_others]

    def _about(self, piece: Piece) -> list[MeterException]:
        start, end = piece.period.instants(self._project.zone)
        return [one for one in self._open.get(piece.agreement.meter_id or 0, ()) if _touches(one, start, end)]

    def _part(self, piece: Piece, finding: MeterException) -> PartOfMonth | None:
        """The days of the month that the agreement is there for; None where those are all."""
        month = month_of(local_day(finding.from_at, self._project.zone))
        stay = month.overlap(piece.stay)
        if stay is None or stay == month:
            return None
        return PartOfMonth(finding, *stay.instants(self._project.zone), stay.days, month.days)


def _touches(finding: MeterException, start: datetime, end: datetime) -> bool:
    if finding.from_at == finding.until_at:
        return start <= finding.from_at <= end
    return finding.from_at < end and finding.until_at > start
