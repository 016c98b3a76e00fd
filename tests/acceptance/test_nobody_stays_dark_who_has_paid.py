"""A prepaid balance is used up, the relay of the meter cuts, the money comes, and the meter shows that it is on."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from cloud.kit.db import Database
from cloud.prepaid.records import SupplyCase
from tests.acceptance.system import PROJECT, System, running_system, system_rows, until
from tests.integration.prepaid.home import Home, make_home
from tests.ports import free_ports

RELAY_STATE: Final = 102


def one_meter() -> dict[str, Any]:
    """A bus behind a converter with the meter of the home, which has a relay."""
    return {
        "periods": {"billing_s": 2, "instant_s": 2},
        "recorder": {"linger_s": 0.1},
        "lines": [
            {
                "name": "riser",
                "protocol": "bus",
                "converter": {"host": "127.0.0.1", "port": free_ports(1)[0], "baud_rate": 9_600},
                "devices": [
                    {
                        "id": "e-1",
                        "template": "generic-dlt645-2007-relay",
                        "address": "201709320072",
                        "password": {"env": "METER_PASSWORD"},
                    }
                ],
            }
        ],
    }


@contextmanager
def building(folder: Path, dsn: str) -> Iterator[System]:
    """Broker, meter and ingest run; the gateway does not yet."""
    with running_system(folder, dsn, one_meter()) as system:
        system.start("meters", "simulate", "meters", "--site", str(system.site_file))
        system.start_ingest()
        yield system


async def has_ended(home: Home, command_id: UUID | None, state: str) -> None:
    """The order gets this far."""

    async def there() -> bool:
        return {one.id: one.state for one in await home.orders()}.get(command_id) == state  # type: ignore[arg-type]

    await until(there, f"the order is {state}", 60.0)


async def relay(home: Home) -> list[int]:
    """What the meter has shown of its relay, oldest first."""
    rows = await system_rows(
        home.db,
        "SELECT value FROM store.reading WHERE meter_id = %s AND channel = %s ORDER BY taken_at",
        (home.flat.meters["electricity"], RELAY_STATE),
    )
    return [row["value"] for row in rows]


async def shows(home: Home, value: int) -> None:
    """The newest reading of the relay becomes `value`."""

    async def newest() -> bool:
        seen = await relay(home)
        return bool(seen) and seen[-1] == value

    await until(newest, f"the relay shows {value}")


async def becomes(home: Home, state: str, now: datetime) -> SupplyCase:
    """Moves the case, as its job would."""
    case = await home.move(now)
    assert case.state == state, await home.steps()
    return case


@pytest.mark.slow
async def test_a_home_is_cut_by_the_rules_and_lit_by_its_payment(
    tmp_path: Path, owner_dsn: str, worker_db: Database
) -> None:
    home = await make_home(worker_db, code=PROJECT)
    with building(tmp_path, owner_dsn) as system:
        system.start_gateway({"METER_PASSWORD": "02000000"})
        await shows(home, 1)
        case = await home.brought_to_order()
        assert case.state == "ordered"
        await has_ended(home, case.cut_id, "done")
        await becomes(home, "off", home.at(minute=41))
        await shows(home, 0)
        await home.pay("500.00")
        await has_ended(home, (await home.case()).restore_id, "done")
        await becomes(home, "reconnected", home.at(minute=50))
        await shows(home, 1)
        system.stop("gateway")


@pytest.mark.slow
async def test_an_order_that_waited_while_the_money_came_is_never_carried_out(
    tmp_path: Path, owner_dsn: str, worker_db: Database
) -> None:
    home = await make_home(worker_db, code=PROJECT)
    with building(tmp_path, owner_dsn) as system:
        case = await home.brought_to_order()
        assert case.state == "ordered"
        await home.pay("500.00")
        system.start_gateway({"METER_PASSWORD": "02000000"})
        await has_ended(home, (await home.case()).restore_id, "done")
        await shows(home, 1)
        assert 0 not in await relay(home)
        states = {one.action: one.state for one in await home.orders()}
        assert states == {"switch-off": "expired", "switch-on": "done"}
        # As if its ten minutes were over: before that nobody says that the supply is on for good.
        await system_rows(
            home.db,
            """UPDATE command SET issued_at = issued_at - interval '1 hour', expires_at = expires_at - interval '1 hour'
               WHERE action = 'switch-off' RETURNING id""",
        )
        await becomes(home, "reconnected", home.at(minute=55))
        system.stop("gateway")
