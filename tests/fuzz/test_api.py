"""Whatever is sent to the REST API: never a crash, and every refusal is a problem document.

HYPOTHESIS_PROFILE=long asks much more.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.requests import SECURITY_HEADERS
from cloud.kit.security import Keys
from cloud.metering import service as metering
from cloud.parking import service as parking
from cloud.settings import CloudSettings
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.fuzz.requests import Operation, Request, operations, requests
from tests.integration.app import Auth, People, equipped

EXAMPLES = 1500 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 6
"""Requests to each operation."""

ASKERS = st.sampled_from(["admin", "admin", "admin", "viewer", "resident", "nobody"])

TARIFF: dict[str, Any] = {
    "currency": "CNY",
    "service": "electricity",
    "unit": "kWh",
    "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.4883"]}}],
}


@dataclass
class Served:
    """The application in a thread of its own, and those who ask it."""

    portal: BlockingPortal
    client: httpx.AsyncClient
    document: dict[str, Any]
    askers: dict[str, Auth]

    def answer(self, request: Request, asker: str) -> httpx.Response:
        """What the application says."""
        # As broken clients do: NaN, lone surrogates and all.
        content = json.dumps(request.body).encode() if request.body is not None else None
        headers = {**request.headers, **self.askers[asker]}
        files = None
        if request.form is None:
            headers = {"Content-Type": "application/json", **headers}
        else:
            files = {name: ("file.csv" if name == "file" else None, value) for name, value in request.form.items()}
        return self.portal.call(
            lambda: self.client.request(request.method, request.url, content=content, files=files, headers=headers)
        )


@pytest.fixture
def served(settings: CloudSettings, keys: Keys, owner_dsn: str) -> Iterator[Served]:
    """The application over a small estate in which each kind of thing has the ids 1, 2 …"""
    app = equipped(settings, keys)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://gatemeter.test")
        askers = portal.call(_furnish, owner_dsn, app.state.sealer)
        yield Served(portal, client, app.openapi(), askers)


async def _furnish(owner_dsn: str, sealer: Any) -> dict[str, Auth]:
    async with Database(owner_dsn, None, max_size=2) as db:
        people = People(db)
        for _ in range(2):
            project = await people.project()
            async with db.transaction(SYSTEM) as conn:
                building = await estate.create_building(conn, project.id, "1", "One")
                unit = await estate.create_unit(conn, project.id, building.id, "0101", area=Decimal("80.00"))
                person = await estate.create_person(
                    conn, sealer, project.id, "Li Na", "13800138000", "110101199001011234"
                )
                await estate.create_occupancy(conn, project.id, unit.id, person.id, "owner", date(2026, 1, 1))
                account = await estate.create_account(conn, project.id, "A1", unit.id, person.id, date(2026, 1, 1))
                meter = await metering.create_meter(
                    conn, project.id, "E1", "electricity", unit.id, 10**9, 10**5, date(2026, 1, 1)
                )
                gateway = await devices.create_gateway(conn, project.id, "gw-1", "Gateway")
                device = await devices.create_device(conn, project.id, gateway.id, "barrier-1", "barrier")
                lot = await parking.create_lot(conn, project.id, "p1", "Lot", 10)
                await parking.create_lane(conn, lot.id, "in", "In", "entry", device.id)
                await parking.register_vehicle(conn, project.id, "京A12345", person.id)
                content = TariffContent.model_validate(TARIFF)
                version = await tariffs.publish(conn, project.id, "e", "E", "electricity", content, date(2026, 1, 1))
                await _agree(conn, project.id, account.id, version.tariff_id, meter.id)
        return {
            "admin": await people.staff("admin"),
            "viewer": await people.staff("viewer", project.id),
            "resident": await people.resident(project.id, person.id),
            "nobody": {},
        }


async def _agree(conn: Any, project_id: int, account_id: int, tariff_id: int, meter_id: int) -> None:
    from cloud.billing import service as billing

    await billing.create_agreement(
        conn, project_id, account_id, "electricity", tariff_id, meter_id, None, date(2026, 1, 1)
    )


def _check(operation: Operation, request: Request, answer: httpx.Response) -> None:
    said = f"{request.method} {request.url} {request.body!r}: {answer.status_code} {answer.text[:500]}"
    assert answer.status_code < 500, said
    assert all(answer.headers.get(name) == value for name, value in SECURITY_HEADERS.items()), said
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", said
        problem = answer.json()
        assert (problem["status"], problem["type"]) == (
            answer.status_code,
            f"urn:gatemeter:problem:{problem['code']}",
        ), said
        assert all(error["field"] and error["detail"] for error in problem.get("errors", [])), said
    else:
        assert str(answer.status_code) in operation.description["responses"], said


def _never_ends(operation: Operation) -> bool:
    """A stream of events answers as long as somebody listens; tests/integration has it on a real socket."""
    answers = operation.description["responses"].get("200", {}).get("content", {})
    return "text/event-stream" in answers


def _storm(served: Served, operation: Operation) -> Iterator[str]:
    """Sends requests to the operation; what went wrong."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES < 100,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(request=requests(served.document, operation), asker=ASKERS)
    def send(request: Request, asker: str) -> None:
        _check(operation, request, served.answer(request, asker))

    try:
        send()
    except AssertionError as error:
        yield f"{operation}: {str(error)[:700]}"


def test_nothing_that_is_sent_makes_the_api_crash(served: Served) -> None:
    failed = [
        wrong
        for operation in operations(served.document)
        if not _never_ends(operation)
        for wrong in _storm(served, operation)
    ]
    assert not failed, "\n\n".join(failed)
