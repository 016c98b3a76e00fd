"""What gateways are told of vehicles: steps, their way down, and again until the gateway holds them."""

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import LiteralString

import pytest

from cloud.devices import access
from cloud.devices.downlink import Downlink
from cloud.ingest.messages import read
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import in_ms
from cloud.kit.security import Keys
from gateway.access.book import AccessBook
from gateway.access.intake import AccessIntake
from gateway.contract import codec, topics
from gateway.contract.access import (
    AccessEntry,
    AccessUpdate,
    GoneEntry,
    ListEntry,
    Listing,
    PermitEntry,
    ReservationEntry,
    StayEntry,
    read_entry,
)
from gateway.contract.messages import Health
from gateway.contract.signing import covered
from gateway.contract.topics import Down, Up
from tests.integration.metering.site import EPOCH, Site, make_site, now_ms

BLACK = ListEntry("b", "京A66666", Listing.BLACK)
STAY = "00000000-0000-4000-8000-000000000001"


def permit(key: str, plate: str) -> PermitEntry:
    return PermitEntry(key, (plate,), 0, now_ms() // 1000 * 1000 + 1_000_000_000)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


@dataclass
class Wire:
    """What the downlink published, and a gateway that takes it and reports."""

    db: Database
    keys: Keys
    site: Site
    sent: list[AccessUpdate] = field(default_factory=list)
    online: bool = True
    book: AccessBook = field(default_factory=AccessBook)
    _seq: int = 0

    async def tell(self, *entries: AccessEntry) -> int:
        async with self.db.transaction(SYSTEM) as conn:
            return await access.tell(conn, self.site.project_id, [self.site.gateway_id], entries)

    async def publish(self, *, heard: bool = True) -> int:
        public = base64.b64encode(self.keys.command_signer().public_key().public_bytes_raw()).decode()
        intake = AccessIntake("demo", "gw-1", self.book, {self.keys.command_key_id: public})

        async def hand_over(topic: str, payload: bytes) -> bool:
            assert topic == topics.down("demo", "gw-1", Down.ACCESS)
            if not self.online:
                return False
            self.sent.append(codec.decode_access(payload))
            if heard:
                await intake.handle(payload)
            return True

        return await Downlink(self.db, self.keys, hand_over).publish_due()

    async def health(self, held: int | None = None) -> None:
        """The gateway's report, a while after the last step was sent."""
        async with self.db.transaction(SYSTEM) as conn:
            await conn.execute("UPDATE gateway_access SET sent_at = sent_at - interval '2 hours'")
        self._seq += 1
        report = Health(now_ms(), "1", 1, 0, 0, 0, 0, access=self.book.number if held is None else held)
        body = codec.encode_envelope(EPOCH, self._seq, now_ms(), codec.encode_body([report]))
        answers = await Writer(self.db).store([read(topics.up("demo", "gw-1", Up.HEALTH), body, now_ms())])
        assert sum(map(len, answers.accepted.values())) == 1

    def steps(self) -> list[tuple[int, int]]:
        return [(one.base, one.number) for one in self.sent]

    def permitted(self, plate: str) -> bool:
        return bool(self.book.state(plate, "small", "lot-1", now_ms()).permits)


@pytest.fixture
def wire(ingest_db: Database, keys: Keys, site: Site) -> Wire:
    return Wire(ingest_db, keys, site)


async def test_changes_go_down_as_signed_steps_that_a_gateway_takes(wire: Wire) -> None:
    first = permit("p", "京A11111")
    assert await wire.tell(first, BLACK) == 1
    assert await wire.publish() == 1
    assert await wire.publish() == 0
    assert await wire.tell(first) == 0, "told already"
    assert await wire.tell(permit("q", "京B22222"), GoneEntry("permit", "p"), GoneEntry("permit", "never")) == 1
    assert await wire.publish() == 1
    assert wire.steps() == [(0, 1), (1, 2)]
    assert len(wire.sent[1].entries) == 2
    assert (wire.permitted("京A11111"), wire.permitted("京B22222")) == (False, True)
    assert wire.book.state("京A66666", "small", "lot-1", now_ms()).blacklisted
    one = wire.sent[0]
    wire.keys.command_signer().public_key().verify(base64.b64decode(one.signature), covered(one))


async def test_times_that_the_wire_cannot_say_are_told_as_the_first_and_the_last_that_it_can(wire: Wire) -> None:
    """A gateway refuses a message as a whole, and what is stored and cannot be said would keep all of them waiting."""
    long_ago, far = in_ms(datetime(1900, 1, 1, tzinfo=UTC)), in_ms(datetime.max.replace(tzinfo=UTC))
    await wire.tell(
        PermitEntry("p", ("京A11111",), long_ago, far),
        ReservationEntry("r", "京B22222", "lot-1", long_ago, far),
        ListEntry("l", "京C33333", Listing.WHITE, since=long_ago, until=far),
        BLACK,
    )
    assert await wire.publish() == 1
    state = wire.book.state("京B22222", "small", "lot-1", now_ms())
    assert wire.permitted("京A11111")
    assert state.reserved
    assert wire.book.state("京C33333", "small", "lot-1", now_ms()).whitelisted


async def test_one_entry_that_cannot_be_said_keeps_nothing_else(wire: Wire) -> None:
    """As a version before ours may have stored it: orders to open go down in the same transaction."""
    await wire.tell(permit("p", "京A11111"), permit("q", "京B22222"))
    async with wire.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE gateway_access_entry SET entry = '[\"permit\"]' WHERE key = 'p'")
    assert await wire.publish() == 1
    assert (wire.permitted("京A11111"), wire.permitted("京B22222")) == (False, True)


async def test_an_error_while_telling_does_not_end_the_downlink(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs beside what takes in passages: both would end."""
    tried = asyncio.Event()

    async def breaks(_: Downlink) -> int:
        tried.set()
        raise ArithmeticError("bad step")

    async def hand_over(_topic: str, _payload: bytes) -> bool:
        return True

    monkeypatch.setattr(Downlink, "publish_knowledge", breaks)
    downlink = Downlink(wire.db, wire.keys, hand_over)
    running = asyncio.create_task(downlink.run())
    for _ in range(2):
        async with asyncio.timeout(60):
            await tried.wait()
        tried.clear()
        downlink.wake()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_a_gateway_did_not_hear_is_told_again_from_what_it_holds(wire: Wire) -> None:
    await wire.tell(permit("p", "京A11111"))
    await wire.publish()
    await wire.tell(permit("q", "京B22222"))
    await wire.publish(heard=False)
    await wire.tell(permit("r", "京C33333"))
    await wire.publish()  # it does not fit to what the gateway holds
    assert wire.book.number == 1
    await wire.health()
    await wire.publish()
    assert wire.steps() == [(0, 1), (1, 2), (2, 3), (1, 3)]
    assert all(wire.permitted(plate) for plate in ("京A11111", "京B22222", "京C33333"))
    await wire.health()
    assert await wire.publish() == 0


async def test_a_gateway_that_lost_its_file_is_told_everything_that_is_not_gone(wire: Wire) -> None:
    await wire.tell(permit("p", "京A11111"), permit("q", "京B22222"))
    await wire.tell(GoneEntry("permit", "p"))
    await wire.publish()
    wire.book = AccessBook()
    await wire.health()
    await wire.publish()
    assert wire.steps()[-1] == (0, 2)
    assert [type(read_entry(body)) for body in wire.sent[-1].entries] == [PermitEntry]
    assert wire.permitted("京B22222")


async def test_a_restored_database_goes_on_above_what_the_gateway_holds(wire: Wire) -> None:
    await wire.tell(permit("p", "京A11111"))
    await wire.health(held=40)
    await wire.publish()
    assert wire.steps() == [(0, 41)]


async def test_nothing_is_marked_as_sent_without_a_broker(wire: Wire) -> None:
    await wire.tell(permit("p", "京A11111"))
    wire.online = False
    assert await wire.publish() == 0
    wire.online = True
    assert await wire.publish() == 1


async def test_a_gateway_that_never_tells_a_number_is_told_less_and_less_often(wire: Wire, ingest_db: Database) -> None:
    await wire.tell(permit("p", "京A11111"))
    await wire.publish(heard=False)
    for times in (1, 2, 3):
        await wire.health(held=0)
        async with ingest_db.transaction(SYSTEM) as conn:
            row = await (await conn.execute("SELECT times, sent FROM gateway_access")).fetchone()
        assert row == {"times": times, "sent": 0}
        await wire.publish(heard=False)
    await wire.health(held=1)
    assert await wire.publish() == 0


async def test_a_stay_that_was_never_told_is_gone_all_the_same(wire: Wire) -> None:
    assert await wire.tell(GoneEntry("stay", STAY)) == 1
    assert await wire.tell(StayEntry(STAY, "京A11111", "lot-1", "small", now_ms())) == 1
    await wire.publish()
    assert wire.book.inside("lot-1") == 1


async def test_what_is_long_gone_is_forgotten_and_who_holds_less_is_told_everything(
    wire: Wire, worker_db: Database
) -> None:
    await wire.tell(permit("p", "京A11111"))
    await wire.publish()
    await wire.tell(GoneEntry("permit", "p"))
    await wire.tell(permit("q", "京B22222"))
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE gateway_access_entry SET changed_at = now() - interval '31 days'")
        assert await access.forget_gone(conn) == 1
        left = await (await conn.execute("SELECT key FROM gateway_access_entry")).fetchall()
    assert [row["key"] for row in left] == ["q"]
    await wire.publish()
    assert wire.steps()[-1] == (0, 3)
    assert (wire.permitted("京A11111"), wire.permitted("京B22222")) == (False, True)


async def test_gateways_of_other_projects_are_told_nothing(wire: Wire, ingest_db: Database) -> None:
    async with ingest_db.transaction(SYSTEM) as conn:
        other = wire.site.project_id + 1_000
        assert await access.tell(conn, other, [wire.site.gateway_id], [BLACK]) == 0
    assert await wire.publish() == 0


async def test_what_is_told_again_and_is_no_change_leaves_its_row_alone(worker_db: Database, site: Site) -> None:
    """All that holds is compared every minute: with a lock on each row, each would be written, too."""
    entries: list[AccessEntry] = [permit("1", "京A1"), GoneEntry("stay", STAY), BLACK]
    where: LiteralString = "SELECT key, xmin::text, xmax::text FROM gateway_access_entry ORDER BY key"
    states = []
    for _ in range(2):
        async with worker_db.transaction(SYSTEM) as conn:
            await access.tell(conn, site.project_id, [site.gateway_id], entries)
        async with worker_db.transaction(SYSTEM) as conn:
            states.append(await (await conn.execute(where)).fetchall())
    assert [row["key"] for row in states[0]] == [STAY, "1", "b"]
    assert states[0] == states[1]
