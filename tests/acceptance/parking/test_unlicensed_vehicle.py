"""Unlicensed vehicle: ticket / QR session bound to the passage."""

from datetime import UTC, datetime
from typing import Any

from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import minutes


async def test_a_ticket_of_the_entry_is_shown_at_the_exit_paid_and_opens_the_barrier(lot: ParkingLot) -> None:
    now = datetime.now(UTC)
    entered = await lot.waits("entry", "", now - minutes(300), decision="no-plate")
    ticket = await lot.post("parking-tickets", passage_id=entered.id)
    again = await lot.post("parking-tickets", passage_id=entered.id)
    assert again["code"] == ticket["code"]
    await lot.hears(lot.told("entry", "", now - minutes(300), "passed", entered, decision="command"))
    waiting = await lot.waits("exit", "", now, decision="await-cloud")
    shown: dict[str, Any] = {
        "project_id": lot.site.project_id,
        "code": f"{ticket['code'][:4]}-{ticket['code'][4:].lower()}",
    }
    stay = await lot.post("parking-ticket-showings", **shown, lane_id=lot.site.exit.id)
    quote = await lot.get(f"parking-sessions/{stay['session_id']}/quote")
    assert quote["due"]["amount"] == "8.00"
    await lot.post("parking-payments", session_id=stay["session_id"], amount=quote["due"], method="cash")
    assert await lot.orders() == [waiting.id]
    await lot.hears(lot.told("exit", "", now, "passed", waiting, decision="command"))
    (closed,) = await lot.stays()
    assert (closed["id"], closed["state"], str(closed["fee"])) == (stay["session_id"], "closed", "8.00")


async def test_two_vehicles_without_plates_are_never_mixed_up(lot: ParkingLot) -> None:
    now = datetime.now(UTC)
    for at in (now - minutes(60), now - minutes(50)):
        passage = await lot.drives("entry", "", at)
        await lot.post("parking-tickets", passage_id=passage.id)
    await lot.waits("exit", "", now)
    assert await lot.orders() == []
    assert [stay["state"] for stay in await lot.stays()] == ["open", "open"]


async def test_a_ticket_nobody_gave_opens_nothing(lot: ParkingLot) -> None:
    await lot.waits("exit", "", datetime.now(UTC))
    shown: dict[str, Any] = {"project_id": lot.site.project_id, "code": "AAAA-AAAA", "lane_id": lot.site.exit.id}
    assert (await lot.post("parking-ticket-showings", 404, **shown))["code"] == "no-ticket"
