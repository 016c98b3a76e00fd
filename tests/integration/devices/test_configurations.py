"""Configurations of gateways in the cloud: made, sent until heard of, moved on by reports, restored."""

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cloud.devices import commands, configuring
from cloud.devices.downlink import Downlink
from cloud.ingest.messages import read
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from gateway.contract import codec, topics
from gateway.contract.configuration import (
    Configuration,
    ConfigurationReport,
    ConfigurationState,
)
from gateway.contract.signing import covered
from gateway.contract.topics import Down, Up
from tests.integration.app import Auth, People, once
from tests.integration.metering.site import EPOCH, Site, make_site, now_ms

RUNNER = CliRunner()
SLOW = "periods: {billing_s: 900, instant_s: 60}\n"


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


@pytest.fixture
async def staff(people: People, site: Site) -> Auth:
    return await people.staff("manager", site.project_id)


@dataclass
class Wire:
    """What the downlink published, and a gateway that reports."""

    db: Database
    keys: Keys
    sent: list[Configuration] = field(default_factory=list)
    online: bool = True
    _seq: int = 0

    async def publish(self) -> int:
        async def hand_over(topic: str, payload: bytes) -> bool:
            assert topic == topics.down("demo", "gw-1", Down.CONFIG)
            if self.online:
                self.sent.append(codec.decode_configuration(payload))
            return self.online

        return await Downlink(self.db, self.keys, hand_over).publish_due()

    async def report(self, *reports: ConfigurationReport) -> None:
        self._seq += 1
        body = codec.encode_envelope(EPOCH, self._seq, now_ms(), codec.encode_body(reports))
        answers = await Writer(self.db).store([read(topics.up("demo", "gw-1", Up.CONFIGURATIONS), body, now_ms())])
        assert sum(map(len, answers.accepted.values())) == 1

    async def tell(self, number: int, state: ConfigurationState, detail: str = "", **more: Any) -> None:
        await self.report(ConfigurationReport(number, state, now_ms(), detail, **more))

    async def pass_time(self) -> None:
        async with self.db.transaction(SYSTEM) as conn:
            await conn.execute("UPDATE configuration_delivery SET published_at = published_at - interval '5 minutes'")


@pytest.fixture
def wire(ingest_db: Database, keys: Keys) -> Wire:
    return Wire(ingest_db, keys)


def address(site: Site, *parts: object) -> str:
    return "/".join([f"/api/v1/gateways/{site.gateway_id}/configurations", *map(str, parts)])


async def make(client: httpx.AsyncClient, site: Site, staff: Auth, text: str = SLOW, **fields: Any) -> dict[str, Any]:
    body = {"site": text, "reason": "fewer readings"} | fields
    answer = await client.post(address(site), json=body, headers={**staff, **once()})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def shown(client: httpx.AsyncClient, site: Site, staff: Auth, number: int) -> dict[str, Any]:
    answer = await client.get(address(site, number), headers=staff)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_it_is_signed_sent_until_it_is_heard_of_and_confirmed(
    app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire, keys: Keys
) -> None:
    made = await make(app_client, site, staff, confirm_s=60)
    assert (made["number"], made["state"], made["site"], made["confirm_s"]) == (1, "queued", SLOW, 60)
    wire.online = False
    assert await wire.publish() == 0
    wire.online = True
    assert await wire.publish() == 1
    assert await wire.publish() == 0, "not again at once"
    await wire.pass_time()
    assert await wire.publish() == 1
    one, again = wire.sent
    assert one == again
    keys.command_signer().public_key().verify(base64.b64decode(one.signature), covered(one))
    assert (one.project, one.gateway, one.number, one.site, one.confirm_s) == ("demo", "gw-1", 1, SLOW, 60)
    for state in ("received", "applied", "confirmed"):
        await wire.tell(1, ConfigurationState(state))
        assert (await shown(app_client, site, staff, 1))["state"] == state
    await wire.pass_time()
    assert await wire.publish() == 0


async def test_only_the_newest_is_sent(app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire) -> None:
    for _ in range(3):
        await make(app_client, site, staff)
    await wire.publish()
    assert [one.number for one in wire.sent] == [3]
    answer = await app_client.get(address(site), params={"limit": 2}, headers=staff)
    assert [(one["number"], one["state"]) for one in answer.json()["items"]] == [(3, "queued"), (2, "superseded")]
    rest = await app_client.get(
        address(site), params={"limit": 2, "cursor": answer.json()["next_cursor"]}, headers=staff
    )
    assert [one["number"] for one in rest.json()["items"]] == [1]
    # The gateway had taken the second all the same, before it heard of the third.
    await wire.tell(2, ConfigurationState.RECEIVED)
    assert (await shown(app_client, site, staff, 2))["state"] == "received"


async def test_reports_move_it_forward_only_in_whatever_order_they_come(
    app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire
) -> None:
    await make(app_client, site, staff)
    await wire.tell(1, ConfigurationState.CONFIRMED)
    for late in ("received", "applied", "refused", "confirmed"):
        await wire.tell(1, ConfigurationState(late), "late")
    assert (await shown(app_client, site, staff, 1))["state"] == "confirmed"
    await wire.tell(1, ConfigurationState.ROLLED_BACK, "it does not fit the gateway any more")
    await wire.tell(1, ConfigurationState.CONFIRMED)
    found = await shown(app_client, site, staff, 1)
    assert (found["state"], found["detail"]) == ("rolled-back", "it does not fit the gateway any more")


async def test_a_doubt_of_the_gateway_is_shown_and_it_is_sent_on(
    app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire
) -> None:
    await make(app_client, site, staff)
    await wire.publish()
    await wire.tell(1, ConfigurationState.REFUSED, "signature: unknown key k1", proven=False)
    found = await shown(app_client, site, staff, 1)
    assert (found["state"], found["detail"]) == ("queued", "signature: unknown key k1")
    await wire.pass_time()
    assert await wire.publish() == 1


async def test_after_a_restored_backup_the_numbers_go_on_above_what_the_gateway_knows(
    app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire
) -> None:
    await make(app_client, site, staff)
    await wire.tell(1, ConfigurationState.REFUSED, "its number is not above 7", highest=7)
    assert (await make(app_client, site, staff))["number"] == 8


async def test_an_earlier_one_is_made_anew(app_client: httpx.AsyncClient, site: Site, staff: Auth) -> None:
    await make(app_client, site, staff, "periods: {billing_s: 1}")
    await make(app_client, site, staff, "periods: {billing_s: 2}")
    answer = await app_client.post(
        address(site, 1, "restore"), json={"reason": "2 was wrong"}, headers={**staff, **once()}
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["number"], made["restores"], made["site"]) == (3, 1, "periods: {billing_s: 1}")
    answer = await app_client.post(address(site, 9, "restore"), json={"reason": "x"}, headers={**staff, **once()})
    assert (answer.status_code, answer.json()["code"]) == (404, "no-configuration")
    late = {"reason": "2 was wrong", "newest": 2}
    answer = await app_client.post(address(site, 1, "restore"), json=late, headers={**staff, **once()})
    assert (answer.status_code, answer.json()["code"]) == (409, "newer-configuration")


async def test_nobody_overwrites_what_he_has_not_seen_and_a_repetition_makes_nothing(
    app_client: httpx.AsyncClient, site: Site, staff: Auth
) -> None:
    body = {"site": SLOW, "reason": "r", "newest": 0}
    key = once()
    first, again = [await app_client.post(address(site), json=body, headers={**staff, **key}) for _ in range(2)]
    assert first.json() == again.json()
    late = await app_client.post(address(site), json=body, headers={**staff, **once()})
    assert (late.status_code, late.json()["code"]) == (409, "newer-configuration")


async def test_two_at_once_get_two_numbers(app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire) -> None:
    made = await asyncio.gather(*(make(app_client, site, staff) for _ in range(4)))
    assert sorted(one["number"] for one in made) == [1, 2, 3, 4]
    await wire.publish()
    assert [one.number for one in wire.sent] == [4]


async def test_what_is_wrong_is_told_with_its_lines(app_client: httpx.AsyncClient, site: Site, staff: Auth) -> None:
    answer = await app_client.post(
        address(site), json={"site": "periods:\n  billing: 5\n", "reason": "r"}, headers={**staff, **once()}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-configuration")
    assert "site.yaml:1: periods: Additional properties" in answer.json()["detail"]


async def test_only_who_may_configure_does_and_only_in_his_projects(
    app_client: httpx.AsyncClient, site: Site, people: People
) -> None:
    other = await people.project("other")
    body = {"site": SLOW, "reason": "r"}
    viewer = await people.staff("viewer", site.project_id)
    stranger = await people.staff("manager", other.id)
    answer = await app_client.post(address(site), json=body, headers={**viewer, **once()})
    assert answer.status_code == 403
    assert (await app_client.get(address(site), headers=viewer)).status_code == 200
    answer = await app_client.post(address(site), json=body, headers={**stranger, **once()})
    assert answer.status_code == 404
    assert (await app_client.get(address(site), headers=stranger)).status_code == 404


async def test_who_made_it_is_in_the_audit_trail_what_the_downlink_did_is_not(
    app_client: httpx.AsyncClient, site: Site, staff: Auth, wire: Wire, owner_db: Database
) -> None:
    await make(app_client, site, staff)
    await wire.publish()
    async with owner_db.transaction(SYSTEM) as conn:
        rows = await (
            await conn.execute("SELECT actor_kind, table_name FROM audit_entry WHERE table_name LIKE '%configuration%'")
        ).fetchall()
    assert [(row["actor_kind"], row["table_name"]) for row in rows] == [("staff", "gateway_configuration")]


async def test_by_command_line(owner_dsn: str, site: Site, ingest_db: Database, tmp_path: Path) -> None:
    file = tmp_path / "slow.yaml"
    file.write_text(SLOW)

    def run(*arguments: str) -> Any:
        return RUNNER.invoke(commands.app, [*arguments, "--dsn", owner_dsn])

    done = await asyncio.to_thread(run, "configure", "demo/gw-1", str(file), "--reason", "night")
    assert done.exit_code == 0, done.output
    async with ingest_db.transaction(SYSTEM) as conn:
        await configuring.apply_configurations(
            conn, site.gateway_id, [ConfigurationReport(1, ConfigurationState.REFUSED, now_ms(), "one\ntwo")]
        )
    done = await asyncio.to_thread(run, "restore", "demo/gw-1", "1", "--reason", "again")
    assert done.exit_code == 0, done.output
    done = await asyncio.to_thread(run, "configurations", "demo/gw-1")
    day = datetime.now(UTC).year
    assert f"    2  queued       {day}-" in done.output
    assert "command-line: again, content of 1" in done.output
    assert "       one\n       two\n" in done.output
    done = await asyncio.to_thread(run, "configurations", "demo/gw-1", "--json")
    assert '"state": "refused"' in done.output
    file.write_text("lines: 5")
    done = await asyncio.to_thread(run, "configure", "demo/gw-1", str(file), "--reason", "x")
    assert (done.exit_code, "site.yaml:1: lines" in done.output) == (2, True)
    done = await asyncio.to_thread(run, "configurations", "demo/gw-9")
    assert (done.exit_code, "there is no gateway demo/gw-9" in done.output) == (2, True)
