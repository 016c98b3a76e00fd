"""What was given up, counted by class and gathered into gaps: in memory first, then in the outbox file."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.contract import codec, limits, stored
from gateway.contract.errors import ContractError
from gateway.contract.messages import Gap, GapReason, Point
from gateway.contract.topics import Up
from gateway.outbox.shedding import Shed

_MAX_GAPS: Final = 10_000
"""Beyond so many open gaps all further ones of a kind and reason become one."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What was given up of one class because there was no room, and of when (Unix milliseconds) it was.

    `batches` counts whole ones; `items` are points, passages or results, also those that were never in a batch.
    """

    batches: int
    items: int
    bytes: int
    oldest: int
    newest: int

    def plus(self, other: "Loss") -> "Loss":
        """Both together."""
        return Loss(
            self.batches + other.batches,
            self.items + other.items,
            self.bytes + other.bytes,
            min(self.oldest, other.oldest),
            max(self.newest, other.newest),
        )


GapKey = tuple[str, str, str, str]
"""Kind, device, channel, reason."""


class Tally:
    """Losses that are not in the file yet. Bounded, whatever is lost."""

    def __init__(self) -> None:
        self.losses: dict[Shed, Loss] = {}
        self.gaps: dict[GapKey, tuple[int, int, int]] = {}
        """Since, until, count."""

    def __bool__(self) -> bool:
        return bool(self.losses or self.gaps)

    def add_batch(self, shed: Shed, kind: Up, body: bytes, created_at: int, size: int, reason: GapReason) -> None:
        """A whole batch; one that cannot be decoded is a gap of unknown count around its creation."""
        items = 0
        for device, channel, at in _places(shed, kind, body):
            self._add_gap((kind.value, device, channel, reason.value), at, at, 1)
            items += 1
        if not items:
            self._add_gap((kind.value, "", "", reason.value), created_at, created_at, 0)
        self._add_loss(shed, Loss(1, items, size, created_at, created_at))

    def add_points(self, shed: Shed, points: Iterable[Point], reason: GapReason) -> None:
        """Points that are in no batch, or no longer."""
        for point in points:
            channel = point.channel if shed is Shed.BILLING else ""
            self._add_gap((Up.READINGS.value, point.device, channel, reason.value), point.taken_at, point.taken_at, 1)
            self._add_loss(shed, Loss(0, 1, 0, point.taken_at, point.taken_at))

    def add_unknown(self, since: int, until: int, reason: GapReason) -> None:
        """Anything of that time may be missing."""
        self._add_gap((Up.READINGS.value, "", "", reason.value), since, until, 0)

    def join(self, other: "Tally") -> None:
        """Takes over what another one counted."""
        for key, (since, until, count) in other.gaps.items():
            self._add_gap(key, since, until, count)
        for shed, loss in other.losses.items():
            self._add_loss(shed, loss)

    def clear(self) -> None:
        """Everything is in the file."""
        self.losses.clear()
        self.gaps.clear()

    def _add_gap(self, key: GapKey, since: int, until: int, count: int) -> None:
        known = self.gaps.get(key)
        if known is None and len(self.gaps) >= _MAX_GAPS:
            key = (key[0], "", "", key[3])
            known = self.gaps.get(key)
        if known is not None:
            since, until, count = min(since, known[0]), max(until, known[1]), count + known[2]
        self.gaps[key] = (since, until, count)

    def _add_loss(self, shed: Shed, loss: Loss) -> None:
        known = self.losses.get(shed)
        self.losses[shed] = loss if known is None else known.plus(loss)


def _places(shed: Shed, kind: Up, body: bytes) -> Iterator[tuple[str, str, int]]:
    """Device, channel and time of what a batch holds; of registers every channel, of the rest only the device."""
    try:
        text = stored.unpack(body)
        if kind is Up.READINGS:
            billing = shed is Shed.BILLING
            yield from ((p.device, p.channel if billing else "", p.taken_at) for p in codec.decode_points(text))
        elif kind is Up.PASSAGES:
            yield from ((passage.device, "", passage.taken_at) for passage in codec.decode_passages(text))
        elif kind is Up.RESULTS:
            yield from (("", "", result.at) for result in codec.decode_results(text))
    except ContractError:
        return


class LossBook:
    """The tables `loss` and `gap`. All methods belong to the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.open_gaps = False
        """Whether there may be gaps that no batch reports yet."""

    def load(self) -> None:
        """Looks what an earlier run left."""
        self.open_gaps = self._db.execute("SELECT EXISTS (SELECT 1 FROM gap)").fetchone()[0] == 1

    def write(self, tally: Tally) -> None:
        """Adds what was lost to what is written already."""
        room = _MAX_GAPS - self._db.execute("SELECT count(*) FROM gap").fetchone()[0]
        for (kind, device, channel, reason), (since, until, count) in tally.gaps.items():
            row = (kind, device, channel, reason, since, until, count)
            if not self._widen(row):
                if room <= 0:
                    row = (kind, "", "", reason, since, until, count)
                    if self._widen(row):
                        continue
                self._db.execute("INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                room -= 1
        self._db.executemany(
            "INSERT INTO loss VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (shed) DO UPDATE SET batches = batches + ?2,"
            " items = items + ?3, bytes = bytes + ?4, oldest = min(oldest, ?5), newest = max(newest, ?6)",
            [(int(shed), *_columns(loss)) for shed, loss in tally.losses.items()],
        )
        self.open_gaps = self.open_gaps or bool(tally.gaps)

    def take_gaps(self) -> list[Gap]:
        """Removes as many open gaps as fit into a batch, for the caller to send."""
        rows = self._db.execute(
            "SELECT kind, device, channel, reason, since, until, count FROM gap"
            " ORDER BY kind, device, channel, reason LIMIT ?",
            (limits.MAX_ITEMS_PER_BATCH,),
        ).fetchall()
        self._db.executemany(
            "DELETE FROM gap WHERE kind = ? AND device = ? AND channel = ? AND reason = ?", [row[:4] for row in rows]
        )
        self.open_gaps = len(rows) == limits.MAX_ITEMS_PER_BATCH
        return [_gap(*row) for row in rows]

    def losses(self) -> dict[Shed, Loss]:
        """Everything that was ever given up, by class."""
        rows = self._db.execute("SELECT shed, batches, items, bytes, oldest, newest FROM loss")
        return {Shed(shed): Loss(*columns) for shed, *columns in rows}

    def _widen(self, row: tuple[str, str, str, str, int, int, int]) -> bool:
        cursor = self._db.execute(
            "UPDATE gap SET since = min(since, ?5), until = max(until, ?6), count = count + ?7"
            " WHERE kind = ?1 AND device = ?2 AND channel = ?3 AND reason = ?4",
            row,
        )
        return cursor.rowcount > 0


def _columns(loss: Loss) -> tuple[int, int, int, int, int]:
    return loss.batches, loss.items, loss.bytes, loss.oldest, loss.newest


def _gap(kind: str, device: str, channel: str, reason: str, since: int, until: int, count: int) -> Gap:
    """A gap that keeps the contract, whatever clock stamped what is missing."""
    gap = Gap(device, channel, _in_limits(since), _in_limits(until), count, GapReason(reason), Up(kind))
    return msgspec.convert(msgspec.to_builtins(gap), Gap)


def _in_limits(at: int) -> int:
    return min(max(at, limits.MIN_TIME_MS), limits.MAX_TIME_MS)
