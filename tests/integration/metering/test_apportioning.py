"""Sharing out: amounts that add up, people who move, late data, and what residents see."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.estate import service as estate
from cloud.estate.records import Validity
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import Period
from cloud.metering.apportionment import service as apportioning
from cloud.metering.apportionment.records import Member, NewRule, Preview, Rule
from cloud.metering.periods.estimates import estimated_usage
from cloud.metering.service import get_meter
from tests.integration.app import People, once
from tests.integration.metering.house import MARCH, TODAY, House, local, make_house, use, use_month

HOURS = 31 * 24
VALID = Validity(date(2026, 1, 1))


def loss_rule(house: House, **changes: Any) -> NewRule:
    new = NewRule("Loss", house.medium, "loss", "area", "building", VALID, house.master, building_id=house.building_id)
    return replace(new, **changes)


async def house_in(conn: Conn, people: People, *hourly: int) -> House:
    """Hourly usage of the master and its sub-meters all through March."""
    house = await make_house(conn, await people.project())
    for meter, used in zip([house.master, *house.subs], hourly, strict=False):
        await use_month(conn, house, meter, used)
    return house


async def previewed(conn: Conn, house: House, new: NewRule, period: Period = MARCH) -> Preview:
    rule = await apportioning.create_rule(conn, house.project.id, new)
    return await apportioning.preview(conn, rule.id, period, TODAY)


def quantities(made: Preview) -> dict[tuple[int, int], int]:
    """By unit and day of the month."""
    return {(share.unit_id, share.from_on.day): share.quantity for share in made.shares}


async def test_a_loss_by_area_and_days(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200, 400)
        made = await previewed(conn, house, loss_rule(house))
        assert made.found == made.amount == 100 * HOURS == sum(share.quantity for share in made.shares)
        # 80 m² of 240 m², 10 of 31 days before the move and 21 after it.
        assert quantities(made) == {
            (house.flats[0], 1): 8_000, (house.flats[0], 11): 16_800, (house.flats[1], 1): 12_400,
            (house.shop, 1): 37_200,
        }  # fmt: skip
        assert (made.open_meters, made.settled, made.is_changed) == ((), None, True)


async def test_shops_and_empty_units_may_be_left_out(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200, 400)
        flats = loss_rule(house, basis="household", excluded_kinds=("shop",))
        assert sum(quantities(await previewed(conn, house, flats)).values()) == 100 * HOURS
        occupied = await previewed(conn, house, replace(flats, name="2", excluded_kinds=(), only_occupied=True))
        assert {unit for unit, _ in quantities(occupied)} == set(house.flats)
        one = await previewed(conn, house, loss_rule(house, name="3", members=(Member(house.shop, excluded=True),)))
        assert {unit for unit, _ in quantities(one)} == set(house.flats)


async def test_public_usage_by_own_usage(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200, 500)
        made = await previewed(
            conn, house, loss_rule(house, shared="usage", basis="usage", participants="sub-meters", building_id=None)
        )
        assert made.amount == 1000 * HOURS
        assert quantities(made) == {
            (house.flats[0], 1): 72_000, (house.flats[0], 11): 151_200, (house.flats[1], 1): 148_800,
            (house.shop, 1): 372_000,
        }  # fmt: skip


async def test_a_fixed_quantity_by_fixed_shares(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people)
        new = NewRule(
            "Lift", "electricity", "fixed", "share", "list", VALID, quantity=100,
            members=(Member(house.flats[1], 1), Member(house.shop, 2)),
        )  # fmt: skip
        assert quantities(await previewed(conn, house, new)) == {(house.flats[1], 1): 33, (house.shop, 1): 67}


async def test_a_negative_loss_is_shown_and_not_shared(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 100, 300)
        made = await previewed(conn, house, loss_rule(house))
        assert (made.found, made.amount) == (-200 * HOURS, 0)
        assert set(quantities(made).values()) == {0}


async def test_settling_twice_is_settling_once_and_late_data_makes_a_version(
    worker_db: Database, people: People
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200, 400)
        rule = await apportioning.create_rule(conn, house.project.id, loss_rule(house))
        first = await apportioning.settle(conn, rule.id, MARCH, TODAY, "user:a")
        assert await apportioning.settle(conn, rule.id, MARCH, TODAY, "user:b") == first
        await conn.execute(
            "UPDATE store.usage SET quantity = 1074 WHERE meter_id = %s AND start = %s",
            (house.master, local(house, date(2026, 3, 5))),
        )
        late = await apportioning.preview(conn, rule.id, MARCH, TODAY)
        assert late.is_changed
        assert {(share.unit_id, share.before) for share in late.shares} >= {(house.shop, 37_200)}
        second = await apportioning.settle(conn, rule.id, MARCH, TODAY, "user:b")
        assert (second.version, second.amount) == (2, first.amount + 74)
        shares = await apportioning.shares_of_run(conn, second.id)
        assert sum(share.quantity for share in shares) == second.amount
        own = await apportioning.shares_of_units(conn, [house.shop])
        assert [(one.version, one.share.quantity) for one in own] == [(2, 37_237)]
        with pytest.raises(Conflict) as refused:
            await apportioning.settle(conn, rule.id, Period(date(2026, 3, 20), date(2026, 4, 1)), TODAY, "user:a")
        assert refused.value.code == "overlap"


async def test_nothing_is_settled_while_readings_are_missing_unless_asked(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200)
        await use(conn, house, house.subs[2], local(house, date(2026, 3, 1)), [400] * (HOURS - 48))
        rule = await apportioning.create_rule(conn, house.project.id, loss_rule(house))
        assert (await apportioning.preview(conn, rule.id, MARCH, TODAY)).open_meters == (house.subs[2],)
        with pytest.raises(Conflict) as refused:
            await apportioning.settle(conn, rule.id, MARCH, TODAY, "user:a")
        assert refused.value.code == "not-settled"
        run = await apportioning.settle(conn, rule.id, MARCH, TODAY, "user:a", estimate=True)
        assert (run.estimated, run.amount) == (True, 100 * HOURS)


async def test_an_estimate_at_the_edge_is_not_settled_one_inside_is(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200, 400)
        rule = await apportioning.create_rule(conn, house.project.id, loss_rule(house))

        async def shaped(at: datetime) -> tuple[int, ...]:
            await conn.execute(
                "UPDATE store.usage SET method = 4 WHERE meter_id = %s AND start = %s", (house.subs[0], at)
            )
            return (await apportioning.preview(conn, rule.id, MARCH, TODAY)).open_meters

        assert await shaped(local(house, date(2026, 3, 9))) == ()
        assert await shaped(local(house, date(2026, 3, 31), 23)) == (house.subs[0],)


async def test_what_cannot_be_shared(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000)
        rule = await apportioning.create_rule(conn, house.project.id, loss_rule(house, basis="usage"))
        await _refused(conn, rule, "no-weights")
        await _refused(conn, rule, "bad-period", Period(date(2026, 4, 1), date(2026, 5, 1)))
        await _refused(conn, rule, "bad-period", Period(date(2025, 12, 1), date(2026, 1, 1)))
        await estate.create_unit(conn, house.project.id, house.building_id, "0103")
        by_area = await apportioning.create_rule(conn, house.project.id, loss_rule(house, name="2"))
        await _refused(conn, by_area, "missing-area")
        nobody = loss_rule(house, name="3", excluded_kinds=("shop", "residential"))
        await _refused(conn, await apportioning.create_rule(conn, house.project.id, nobody), "no-participants")
        ended = await apportioning.end_rule(conn, rule.id, date(2026, 3, 15))
        await _refused(conn, ended, "bad-period")


async def _refused(conn: Conn, rule: Rule, code: str, period: Period = MARCH) -> None:
    with pytest.raises(InvalidInput) as refused:
        await apportioning.preview(conn, rule.id, period, TODAY)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 5}, {"meter_id": None}, {"building_id": None}, {"basis": "share"}, {"medium": "water"},
        {"valid": Validity(date(2026, 2, 1), date(2026, 1, 1))}, {"members": (Member(10**6),)},
    ],
)  # fmt: skip
async def test_rules_that_do_not_go_together(worker_db: Database, people: People, changes: dict[str, Any]) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
        with pytest.raises(InvalidInput):
            await apportioning.create_rule(conn, house.project.id, loss_rule(house, **changes))


async def test_usage_for_a_bill_that_cannot_wait(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
        first = local(house, date(2026, 3, 1))
        await use(conn, house, house.master, first, [100] * (HOURS - 72))
        await use(conn, house, house.master, first + timedelta(hours=HOURS - 72), [9] * 24, method=4)
        meter = await get_meter(conn, house.master)
        found = await estimated_usage(conn, meter, 1, *MARCH.instants(house.project.zone))
        assert (found.measured, found.estimated) == (100 * (HOURS - 72), 24 * 9 + 48 * 100)
        assert (found.quantity, found.method) == (found.measured + found.estimated, 4)
        whole = await estimated_usage(conn, meter, 1, first, first + timedelta(hours=5))
        assert (whole.quantity, whole.method, whole.estimated) == (500, 0, 0)
        # A row too long to be shaped gives its part by time.
        await use(conn, house, house.subs[0], first - timedelta(days=120), [124_000], method=2, length_s=124 * 86_400)
        part = await estimated_usage(conn, await get_meter(conn, house.subs[0]), 1, first, first + timedelta(days=1))
        assert (part.quantity, part.method) == (1_000, 2)


async def test_the_api_from_rule_to_a_residents_share(
    app_client: httpx.AsyncClient, worker_db: Database, people: People
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await house_in(conn, people, 1000, 300, 200, 400)
    staff = await people.staff("manager", house.project.id)
    body = {
        "project_id": house.project.id, "name": "Loss", "medium": "electricity", "shared": "loss", "basis": "area",
        "meter_id": house.master, "participants": "building", "building_id": house.building_id,
        "valid_from": "2026-01-01",
    }  # fmt: skip
    made = await app_client.post("/api/v1/apportionment-rules", json=body, headers=staff | once())
    assert made.status_code == 201, made.text
    rule = f"/api/v1/apportionment-rules/{made.json()['id']}"
    days = {"from": "2026-03-01", "to": "2026-04-01"}
    shown = (await app_client.get(f"{rule}/preview", params=days, headers=staff)).json()
    assert (shown["amount"], shown["open_meters"]) == ({"quantity": "74.400", "unit": "kWh"}, [])
    settled = (await app_client.post(f"{rule}/runs", json=days, headers=staff | once())).json()
    assert (settled["version"], settled["from"], settled["amount"]["quantity"]) == (1, "2026-03-01", "74.400")
    assert [run["id"] for run in (await app_client.get(f"{rule}/runs", headers=staff)).json()["items"]] == [
        settled["id"]
    ]
    shares = f"/api/v1/apportionment-runs/{settled['id']}/shares"
    assert len((await app_client.get(shares, headers=staff)).json()["items"]) == 4
    # Each tenant of the flat sees his own days only, and the neighbour nothing of either.
    for who, quantity in (("former", "8.000"), ("tenant", "16.800")):
        resident = await people.resident(house.project.id, house.people[who])
        (own,) = (await app_client.get(shares, headers=resident)).json()["items"]
        assert own["quantity"]["quantity"] == quantity
        query = {"unit_id": house.flats[0]}
        (told,) = (await app_client.get("/api/v1/apportionment-shares", params=query, headers=resident)).json()["items"]
        share = told["share"]
        whole = int(told["total"]["quantity"].replace(".", "")) * int(share["weight"])
        assert whole // int(told["total_weight"]) == int(share["quantity"]["quantity"].replace(".", ""))
        assert (await app_client.post(f"{rule}/runs", json=days, headers=resident | once())).status_code == 403
    elsewhere = await people.staff("manager", (await people.project()).id)
    assert (await app_client.get(rule, headers=elsewhere)).status_code == 404
