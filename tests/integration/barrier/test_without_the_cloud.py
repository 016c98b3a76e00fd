"""Days without the cloud: what it told of vehicles stays true, also over a restart, and stays are kept here."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.access.book import AccessBook
from gateway.contract import codec
from gateway.contract.access import AccessEntry, AccessUpdate, GoneEntry, ListEntry, Listing, LotEntry, PermitEntry
from gateway.contract.topics import Down
from gateway.outbox import Outbox
from simulators.barrier.lane import Lane
from tests.integration.barrier.conftest import running_gateway
from tests.integration.broker import Mosquitto, until
from tests.integration.uplink.cloud import Cloud, now_ms
from tests.unit.gateway.access.updates import LOT, signed, stay, update

Lanes = tuple[Lane, Lane]
DAY = 86_400_000
RESIDENT, VISITOR, PAID, BARRED = "京A11111", "京B22222", "京C33333", "京D44444"


@pytest_asyncio.fixture
async def book(tmp_path: Path) -> AsyncIterator[AccessBook]:
    opened = AccessBook(tmp_path / "access.sqlite")
    yield opened
    opened.close()


async def tell(cloud: Cloud, *updates: AccessUpdate) -> None:
    for one in updates:
        await cloud.send(codec.encode_access(signed(cloud.key, one)), Down.ACCESS)


def everything() -> list[AccessEntry]:
    now = now_ms()
    return [
        PermitEntry("p", (RESIDENT,), now - DAY, now + 30 * DAY),
        ListEntry("b", BARRED, Listing.BLACK),
        LotEntry("lot", LOT, "", 3, 15 * 60_000),
        stay(PAID, now - DAY, 7, paid_until=now + DAY),
    ]


def decided(cloud: Cloud, rule: str) -> bool:
    return any(passage.decision == rule for passage in cloud.passages)


async def through(lane: Lane, plate: str) -> None:
    standing = await lane.arrive(plate)
    async with asyncio.timeout(60):
        await standing.left.wait()


async def test_vehicles_come_and_go_by_what_the_cloud_told_before_it_fell_silent(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox, book: AccessBook, tmp_path: Path
) -> None:
    async with running_gateway(outbox, mosquitto, cloud, book=book):
        await tell(cloud, update(4, *everything()), update(5, GoneEntry("permit", "nobody"), base=4))
        await until(lambda: book.number == 5)
    book.close()
    cloud.answer = lambda envelope: None
    again = AccessBook(tmp_path / "access.sqlite")
    try:
        async with running_gateway(outbox, mosquitto, cloud, book=again):
            for plate in (RESIDENT, VISITOR):
                await through(lanes[0], plate)
            await until(lambda: again.inside(LOT) == 3)
            await lanes[0].arrive("京E55555")  # the lot has room for three
            await until(lambda: decided(cloud, "lot-full"))
            await lanes[0].turn_back()
            for plate in (RESIDENT, PAID, VISITOR):
                await through(lanes[1], plate)
            await until(lambda: again.inside(LOT) == 0)
            await lanes[0].arrive(BARRED)
            await until(lambda: decided(cloud, "blacklist"))
            told = {(p.plate, p.direction): p.decision for p in cloud.passages if p.outcome.value == "passed"}
    finally:
        again.close()
    assert told == {
        (RESIDENT, "entry"): "permit",
        (VISITOR, "entry"): "temporary",
        (RESIDENT, "exit"): "permit",
        (PAID, "exit"): "paid",
        (VISITOR, "exit"): "free",
    }


async def test_a_second_stay_of_the_day_is_left_to_the_cloud(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox, book: AccessBook
) -> None:
    async with running_gateway(outbox, mosquitto, cloud, book=book, duplicate_s=0.01):
        await tell(cloud, update(1, *everything()))
        await until(lambda: book.number == 1)
        await through(lanes[0], VISITOR)
        await through(lanes[1], VISITOR)
        await through(lanes[0], VISITOR)
        await lanes[1].arrive(VISITOR)
        await until(lambda: decided(cloud, "await-cloud"))
    assert [p.decision for p in cloud.passages if p.outcome.value == "passed"] == ["temporary", "free", "temporary"]


async def test_what_the_owner_of_the_broker_tells_changes_nothing(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox, book: AccessBook
) -> None:
    async with running_gateway(outbox, mosquitto, cloud, book=book):
        forged = update(9, ListEntry("w", VISITOR, Listing.WHITE))
        await cloud.send(codec.encode_access(forged), Down.ACCESS)
        await cloud.send(b"nonsense", Down.ACCESS)
        await tell(cloud, update(1, ListEntry("w", RESIDENT, Listing.WHITE)))
        await until(lambda: book.number == 1)
        await through(lanes[1], RESIDENT)
        await lanes[1].arrive(VISITOR)
        await until(lambda: decided(cloud, "await-cloud"))
    assert lanes[1].orders[1:] == []
