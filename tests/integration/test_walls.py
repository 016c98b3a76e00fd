"""What each asker sees of two projects through every list and document of the API, and what he may not write."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.identity.policy import ROLES
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.kit.periods import day_start
from cloud.kit.security import Keys, Sealer
from cloud.metering import service as metering
from cloud.parking import service as parking
from tests.integration.app import Auth, People, once

NO_LISTS = {
    *(
        "calendar-days",
        "live/readings",
        "parking-lanes-now",
        "live/parking-lanes",
        "parking-counts",
        "live/parking-counts",
        "me",
        "parking-reports/occupancy",
        "parking-reports/openings",
        "parking-reports/revenue",
        "parking-reports/turnover",
        "parking-reports/unmatched",
        "parking-shifts/file",
        "readings",
        "readings/export",
        "tariff-schema",
        "usage",
        "usage/comparison",
        "usage/export",
        "usage/ranking",
    ),
}
"""Nothing that lists everything one may see: these are asked for one place and time (tests/integration/metering)."""
MOVED = date(2026, 3, 1)
PLATE = "京A12345"


@dataclass(frozen=True)
class House:
    """One flat with a tenant before and one after the move, and a neighbour; ids by what they are of."""

    project_id: int
    ids: dict[str, int]


async def _person(
    conn: Conn, project_id: int, unit_id: int, who: str, begins: date, ends: date | None
) -> dict[str, int]:
    sealer = Sealer(Keys.generate())
    person = await estate.create_person(conn, sealer, project_id, who)
    await estate.create_occupancy(conn, project_id, unit_id, person.id, "tenant", begins, ends)
    account = await estate.create_account(conn, project_id, f"A-{who}", unit_id, person.id, begins, ends)
    row = await (
        await conn.execute(
            """INSERT INTO bill (project_id, account_id, number, period, currency, total, issued_on, due_on, state,
                                 engine_version, inputs)
               VALUES (%s, %s, %s, daterange(%s, %s::date + 28), 'CNY', 0, %s, %s, 'issued', '1', '{}') RETURNING id""",
            (project_id, account.id, f"B-{who}", begins, begins, begins, begins),
        )
    ).fetchone()
    assert row is not None
    await conn.execute(
        "INSERT INTO late_fee (project_id, bill_id, through, amount, rule, steps) VALUES (%s, %s, %s, 1, '{}', '[]')",
        (project_id, row["id"], begins),
    )
    await conn.execute(
        """INSERT INTO payment (project_id, account_id, purpose, method, amount, currency, paid_on)
           VALUES (%s, %s, 'bill', 'cash', 10, 'CNY', %s)""",
        (project_id, account.id, begins),
    )
    return {f"{who}.person": person.id, f"{who}.account": account.id, f"{who}.bill": int(row["id"])}


async def build(conn: Conn, people: People) -> House:
    """A flat whose tenant changed on 1 March: what was measured and parked before and after."""
    project = await people.project()
    building = await estate.create_building(conn, project.id, "1", "Tower 1")
    unit = await estate.create_unit(conn, project.id, building.id, "0101")
    beside = await estate.create_unit(conn, project.id, building.id, "0102")
    ids = {"project": project.id, "building": building.id, "unit": unit.id, "beside": beside.id}
    ids |= await _person(conn, project.id, unit.id, "former", date(2026, 1, 1), MOVED)
    ids |= await _person(conn, project.id, unit.id, "tenant", MOVED, None)
    ids |= await _person(conn, project.id, beside.id, "neighbour", date(2026, 1, 1), None)
    await estate.create_household(conn, project.id, unit.id, 2, date(2026, 1, 1), MOVED)
    await estate.create_household(conn, project.id, unit.id, 6, MOVED)
    meter = await metering.create_meter(conn, project.id, "E1", "electricity", unit.id, 10**9, 10**9, date(2026, 1, 1))
    ids["meter"] = meter.id
    moved = day_start(MOVED, project.zone)
    for hour, value in ((-2, 100), (-1, 200), (0, 300), (1, 700)):
        await conn.execute(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
               VALUES (%s, 1, %s + %s * interval '1 hour', %s, %s)""",
            (meter.id, moved, hour, value, project.id),
        )
        await conn.execute(
            """INSERT INTO meter_exception (meter_id, channel, rule, from_at, until_at, found, project_id)
               SELECT %s, 1, 'maximum', at, at, %s, %s FROM (SELECT %s + %s * interval '1 hour' AS at) AS taken""",
            (meter.id, value, project.id, moved, hour),
        )
    # The second row reaches over the move: it belongs to nobody alone.
    for hour, length_s, quantity in ((-3, 3600, 10), (-2, 4 * 3600, 77), (2, 3600, 40)):
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               VALUES (%s, 1, %s + %s * interval '1 hour', %s, %s, %s)""",
            (meter.id, moved, hour, length_s, quantity, project.id),
        )
    gateway = await devices.create_gateway(conn, project.id, "gw-1", "Gateway")
    device = await devices.create_device(conn, project.id, gateway.id, "barrier-1", "barrier")
    lot = await parking.create_lot(conn, project.id, "p1", "Lot", 10)
    lane = await parking.create_lane(conn, lot.id, "in", "In", "entry", device.id)
    ids |= {"gateway": gateway.id, "device": device.id, "lot": lot.id, "lane": lane.id}
    early, late = datetime(2026, 1, 1, tzinfo=UTC), moved
    await parking.register_vehicle(conn, project.id, PLATE, ids["former.person"], valid_from=early, valid_until=late)
    await parking.register_vehicle(conn, project.id, PLATE, ids["tenant.person"], valid_from=late)
    for who, day in (("former", date(2026, 2, 1)), ("tenant", date(2026, 4, 1))):
        row = await (
            await conn.execute(
                """INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state,
                                                currency)
                   VALUES (%s, %s, %s, 'small', %s, %s, 'closed', 'CNY') RETURNING id""",
                (project.id, lot.id, PLATE, day_start(day, project.zone), day_start(day, project.zone)),
            )
        ).fetchone()
        assert row is not None
        ids[f"{who}.session"] = int(row["id"])
        await conn.execute(
            """INSERT INTO passage (id, project_id, lane_id, session_id, plate, plate_read, vehicle_class, score,
                                    direction, taken_at, outcome, outcome_at)
               VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, 'small', 90, 'entry', now(), 'passed', now())""",
            (project.id, lane.id, row["id"], PLATE, PLATE),
        )
    return House(project.id, ids)


@pytest.fixture
async def houses(owner_db: Database, people: People) -> tuple[House, House]:
    """Two projects, furnished alike."""
    made = []
    for _ in range(2):
        async with owner_db.transaction(SYSTEM) as conn:
            made.append(await build(conn, people))
    return made[0], made[1]


async def _lists(client: httpx.AsyncClient, auth: Auth, **query: int) -> dict[str, list[dict[str, Any]]]:
    """What each list of the API shows; those that are forbidden are absent."""
    paths = (await client.get("/api/v1/openapi.json")).json()["paths"]
    names = [path.removeprefix("/api/v1/") for path, methods in paths.items() if "get" in methods and "{" not in path]
    found = {}
    for name in sorted(set(names) - NO_LISTS):
        wanted = {} if name == "projects" else query
        answer = await client.get(f"/api/v1/{name}", headers=auth, params=wanted)
        assert answer.status_code in (200, 403), (name, answer.text)
        if answer.status_code == 200:
            found[name] = answer.json()["items"]
    return found


@pytest.mark.parametrize("role", ["admin", "viewer"])
async def test_staff_see_nothing_of_other_projects(
    app_client: httpx.AsyncClient, people: People, houses: tuple[House, House], role: str
) -> None:
    here, there = houses
    auth = await people.staff(role, there.project_id)
    shown = await _lists(app_client, auth)
    assert {"bills", "meters", "people", "parking-sessions"} <= shown.keys()
    for name, items in shown.items():
        key = "id" if name == "projects" else "project_id"
        assert {item.get(key, there.project_id) for item in items} <= {there.project_id}, name
    elsewhere = await _lists(app_client, auth, project_id=here.project_id)
    assert {name for name, items in elsewhere.items() if items} == {"projects"}
    ids = here.ids
    for path in (
        f"bills/{ids['tenant.bill']}",
        f"bills/{ids['tenant.bill']}/explanation",
        f"meters/{ids['meter']}",
        f"meters/{ids['meter']}/readings",
        f"meters/{ids['meter']}/usage?from=2026-03-01&to=2026-03-02",
        f"parking-sessions/{ids['tenant.session']}",
        f"parking-sessions/{ids['tenant.session']}/quote",
    ):
        assert (await app_client.get(f"/api/v1/{path}", headers=auth)).status_code == 404, path


def _owned(shown: dict[str, list[dict[str, Any]]], name: str, key: str) -> list[Any]:
    return [item[key] for item in shown[name]]


@pytest.mark.parametrize("who", ["former", "tenant", "neighbour"])
async def test_residents_see_what_is_theirs(
    app_client: httpx.AsyncClient, people: People, houses: tuple[House, House], who: str
) -> None:
    here, _ = houses
    ids = here.ids
    auth = await people.resident(here.project_id, ids[f"{who}.person"])
    shown = await _lists(app_client, auth)
    hidden = {"audit-entries", "users", "devices", "commands", "dead-letters", "reading-gaps", "jobs", "bill-runs"}
    assert not shown.keys() & hidden
    assert _owned(shown, "people", "id") == _owned(shown, "occupancies", "person_id") == [ids[f"{who}.person"]]
    assert _owned(shown, "accounts", "id") == _owned(shown, "payments", "account_id") == [ids[f"{who}.account"]]
    assert _owned(shown, "bills", "id") == [ids[f"{who}.bill"]]
    assert _owned(shown, "units", "id") == [ids["beside" if who == "neighbour" else "unit"]]
    assert _owned(shown, "households", "persons") == {"former": [2], "tenant": [6], "neighbour": []}[who]
    assert _owned(shown, "meters", "id") == ([] if who == "neighbour" else [ids["meter"]])
    sessions = [] if who == "neighbour" else [ids[f"{who}.session"]]
    assert _owned(shown, "parking-sessions", "id") == sessions
    assert _owned(shown, "vehicles", "person_id") == ([] if who == "neighbour" else [ids[f"{who}.person"]])
    assert shown["parking-lanes"] == []
    for other in {"former", "tenant", "neighbour"} - {who}:
        assert (await app_client.get(f"/api/v1/bills/{ids[f'{other}.bill']}", headers=auth)).status_code == 404
    for other in {"former", "tenant"} - {who}:
        path = f"/api/v1/parking-sessions/{ids[f'{other}.session']}"
        assert (await app_client.get(path, headers=auth)).status_code == 404


@pytest.mark.parametrize(
    ("who", "readings", "quantities"),
    [("former", ["0.300", "0.200", "0.100"], ["0.010"]), ("tenant", ["0.700", "0.300"], ["0.040"])],
)
async def test_what_a_meter_told_belongs_to_who_lived_there_then(
    app_client: httpx.AsyncClient, people: People, houses: tuple[House, House], who: str, readings: list[str],
    quantities: list[str], web_db: Database,
) -> None:  # fmt: skip
    here, _ = houses
    auth = await people.resident(here.project_id, here.ids[f"{who}.person"])
    meter = f"/api/v1/meters/{here.ids['meter']}"
    seen = (await app_client.get(f"{meter}/readings", headers=auth)).json()["items"]
    assert [item["value"]["quantity"] for item in seen] == readings
    query = {"from": "2026-02-28", "to": "2026-03-02", "step": "hour"}
    bars = (await app_client.get(f"{meter}/usage", params=query, headers=auth)).json()["items"]
    assert [bar["quantity"] for bar in bars if bar["quantity"]] == quantities
    asker = Asker("resident", (here.project_id,), (here.ids[f"{who}.person"],))
    async with web_db.transaction(asker) as conn:
        found = await metering.list_exceptions(conn, here.project_id)
    assert len(found) == len(readings)


@pytest.mark.parametrize("who", [*sorted(ROLES), "resident"])
async def test_what_a_role_may_write(
    app_client: httpx.AsyncClient, people: People, houses: tuple[House, House], who: str
) -> None:
    here, _ = houses
    resident = who == "resident"
    auth = await (
        people.resident(here.project_id, here.ids["tenant.person"]) if resident else people.staff(who, here.project_id)
    )
    writers = {
        "buildings": {"admin", "manager"},
        "units": {"admin", "manager"},
        "people": {"admin", "manager"},
        "occupancies": {"admin", "manager"},
        "households": {"admin", "manager"},
        "accounts": {"admin", "manager"},
        "gateways": {"admin", "manager"},
        "devices": {"admin", "manager"},
        "commands": {"admin", "manager"},
        "meters": {"admin", "manager"},
        "device-bindings": {"admin", "manager"},
        "reading-imports": {"admin", "manager"},
        "tariff-versions": {"admin", "manager"},
        "bill-runs": {"admin", "manager"},
        "service-agreements": {"admin", "manager"},
        "rents": {"admin", "manager"},
        "one-off-charges": {"admin", "manager"},
        "concessions": {"admin", "manager"},
        "vehicles": {"admin", "manager"},
        "users": {"admin"},
        "payments": {"admin", "manager", "cashier"},
        "payment-terms": {"admin", "manager"},
        "instalment-plans": {"admin", "manager", "cashier"},
        "deposits": {"admin", "manager", "cashier"},
        "releases": {"admin", "manager", "cashier"},
        f"bills/{here.ids['tenant.bill']}/disputes": {"admin", "manager", "cashier", "resident"},
        f"bills/{here.ids['tenant.bill']}/late-fee-waivers": {"admin", "manager", "cashier"},
        "parking-payments": {"admin", "manager", "cashier", "guard"},
        f"parking-lanes/{here.ids['lane']}/openings": {"admin", "manager", "guard"},
    }
    for name, allowed in writers.items():
        answer = await app_client.post(f"/api/v1/{name}", json={}, headers={**auth, **once()})
        assert answer.status_code == (422 if who in allowed else 403), (name, answer.text)


async def test_ids_of_another_project_are_not_found_and_named(
    app_client: httpx.AsyncClient, people: People, houses: tuple[House, House]
) -> None:
    here, there = houses
    auth = await people.staff("admin", here.project_id)
    mine, theirs, project = here.ids, there.ids, {"project_id": here.project_id}
    since = {"valid_from": "2026-06-01"}
    moment = {"valid_from": "2026-06-01T00:00:00+08:00"}
    meter = {"code": "E9", "medium": "water", "modulus": 1000, "max_per_hour": 10, "installed_on": "2026-01-01"}
    agreement = {**project, **since, "account_id": mine["tenant.account"], "service": "x", "tariff_id": 2**62}
    concession = {**project, **since, "rule": "other", "name": "x", "kind": "percent", "value": "5", "reason": "x"}
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("buildings", {"project_id": there.project_id, "code": "9", "name": "9"}, "project_id"),
        ("units", {**project, "building_id": theirs["building"], "code": "9"}, "building_id"),
        ("people", {"project_id": there.project_id, "name": "Eve"}, "project_id"),
        ("occupancies", {**project, **since, "unit_id": theirs["unit"], "person_id": mine["tenant.person"],
                         "role": "owner"}, "unit_id"),
        ("occupancies", {**project, **since, "unit_id": mine["unit"], "person_id": theirs["tenant.person"],
                         "role": "owner"}, "person_id"),
        ("households", {**project, **since, "unit_id": theirs["unit"], "persons": 3}, "unit_id"),
        ("accounts", {**project, **since, "number": "X", "person_id": theirs["tenant.person"]}, "person_id"),
        ("gateways", {"project_id": there.project_id, "code": "gw-9", "name": "9"}, "project_id"),
        ("devices", {**project, "gateway_id": theirs["gateway"], "code": "d", "kind": "water"}, "gateway_id"),
        ("devices", {**project, "gateway_id": 2**63 - 1, "code": "d", "kind": "water"}, "gateway_id"),
        ("commands", {**project, "device_id": theirs["device"], "action": "read-now", "reason": "x"}, "device_id"),
        ("meters", {**meter, "project_id": there.project_id}, "project_id"),
        ("meters", {**meter, **project, "unit_id": theirs["unit"]}, "unit_id"),
        ("meters", {**meter, **project, "parent_id": theirs["meter"]}, "parent_id"),
        ("device-bindings", {**moment, "device_id": theirs["device"], "meter_id": mine["meter"]}, "device_id"),
        ("device-bindings", {**moment, "device_id": mine["device"], "meter_id": theirs["meter"]}, "meter_id"),
        ("service-agreements", {**agreement, "account_id": theirs["tenant.account"]}, "account_id"),
        ("service-agreements", {**agreement}, "tariff_id"),
        ("rents", {**project, **since, "account_id": theirs["tenant.account"], "amount": "1"}, "account_id"),
        ("one-off-charges", {**project, "account_id": theirs["tenant.account"], "amount": "1", "category": "x",
                             "description": "x", "day": "2026-01-01"}, "account_id"),
        ("concessions", {**concession, "account_id": theirs["tenant.account"]}, "account_id"),
        ("concessions", {**concession, "unit_id": theirs["unit"]}, "unit_id"),
        ("bill-runs", {"project_id": there.project_id, "start": "2026-01-01", "end": "2026-02-01"}, "project_id"),
        ("payments", {"account_id": theirs["tenant.account"], "amount": "1.00", "method": "cash",
                      "paid_on": "2026-01-05"}, "account_id"),
        ("vehicles", {"project_id": there.project_id, "plate": "京B1", "person_id": mine["former.person"]},
         "project_id"),
        ("vehicles", {**project, "plate": "京B1", "person_id": theirs["tenant.person"]}, "person_id"),
        ("parking-payments", {"session_id": theirs["tenant.session"], "method": "cash",
                              "amount": {"amount": "1.00", "currency": "CNY"}}, "session_id"),
        (f"parking-lanes/{theirs['lane']}/openings", {"reason": "x"}, "lane_id"),
    ]  # fmt: skip
    wrong = []
    for name, body, field in refused:
        answer = await app_client.post(f"/api/v1/{name}", json=body, headers={**auth, **once()})
        fields = [error["field"] for error in answer.json().get("errors", [])]
        if answer.status_code not in (404, 422) or fields != [field]:
            wrong.append((name, body, answer.text))
    assert wrong == []
