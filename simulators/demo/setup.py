"""The first start: estate, history, bills, stays and users, each step once, in order, resumable."""

import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.kit.periods import day_start
from cloud.kit.security import Keys, Sealer
from simulators.barrier.plates import Vehicle
from simulators.demo.access import MERCHANT, RESIDENT, STAFF, create_users
from simulators.demo.bills import bill_months, closed_months
from simulators.demo.child import Child
from simulators.demo.contracts import make_agreements, make_lot
from simulators.demo.delivery import Delivery, DeliveryFailed, delivery
from simulators.demo.estate import build_estate
from simulators.demo.fees import pay_stays
from simulators.demo.options import GATEWAY, PROJECT, ZONE, DemoError
from simulators.demo.parking import OWING, furnish, place_of, user_ids
from simulators.demo.plan import make_plan
from simulators.demo.processes import Installation
from simulators.demo.progress import Steps
from simulators.demo.readings import full_hour, history_batches, reading_times
from simulators.demo.site import example_site
from simulators.demo.state import DemoState
from simulators.demo.stays import Stay, make_stays, odd_passages, passages_of
from simulators.demo.usage import all_meters, usage_is_derived

Facts = dict[str, object]

_PASSWORD_ENV: Final = "GATEMETER_DEMO_GATEWAY_PASSWORD"  # noqa: S105  # the name of a variable
_BILLED_MONTHS: Final = 3
_PASSAGES_PER_BATCH: Final = 100
_PATIENCE_S: Final = 60.0
_ASKER: Final = SYSTEM.named("demo")


class SetUp:
    """Does what the state says is missing. The gateway must not run yet: history is delivered in its name."""

    def __init__(self, installation: Installation, state: DemoState, db: Database, steps: Steps, worker: Child) -> None:
        self._installation = installation
        self._options = installation.options
        self._state = state
        self._db = db
        self._steps = steps
        self._worker = worker
        self._plan = make_plan(self._options.seed, state.since, self._options.floors)

    async def run(self) -> None:
        """All steps. Raises DemoError."""
        try:
            await self._once("estate", self._estate)
            await self._once("history", self._history)
            await self._once("usage", self._usage)
            await self._once("bills", self._bills)
            await self._once("stays", self._stays)
            await self._once("users", self._users)
            await self._once("parking", self._parking)
        except DeliveryFailed as error:
            raise DemoError(f"history was not taken: {error}; see {self._options.logs}") from error

    async def _once(self, step: str, work: Callable[[], Awaitable[Facts]]) -> None:
        if not self._state.finished(step):
            self._state.finish(step, **await work())

    async def _estate(self) -> Facts:
        sealer = Sealer(Keys.load(self._options.keys_file))
        with self._steps.step("Flats, people, meters, tariffs", len(self._plan.flats)) as step:
            async with self._db.transaction(_ASKER) as conn:
                known = [project.id for project in await estate.projects(conn) if project.code == PROJECT]
                if known:  # an earlier start was cut off between this commit and its note
                    return await self._facts(known[0])
                built = await build_estate(conn, sealer, self._plan, step)
                await make_agreements(conn, built, self._plan.since)
                await make_lot(conn, built, self._plan.since)
        return await self._facts(built.project.id)

    async def _facts(self, project_id: int) -> Facts:
        """What later steps need to know: the project, and the person whose flat the demo resident lives in."""
        flat = self._plan.flats[0]
        async with self._db.transaction(_ASKER) as conn:
            wanted = estate.EstateFilter(project_id=project_id, number=flat.account_number)
            account = (await estate.list_accounts(conn, PageRequest(1), wanted)).items[0]
        return {"project_id": project_id, "resident_person_id": account.person_id}

    async def _history(self) -> Facts:
        until = full_hour(datetime.now(UTC))
        times = reading_times(self._plan.since, until, ZONE)
        devices = self._plan.devices()
        with self._steps.step("History through broker and ingest", len(devices) * len(times)) as step:
            async with self._deliver() as deliverer:
                for device, medium in devices:
                    for points in history_batches(self._options.seed, device, medium, times, ZONE):
                        await deliverer.readings(points)
                        step.advance(len(points))
        return {"history_until": until.isoformat()}

    async def _usage(self) -> Facts:
        start = day_start(self._plan.since, ZONE)
        end = datetime.fromisoformat(self._state.facts["history_until"])
        meters = await all_meters(self._db, _ASKER, self._state.facts["project_id"])
        with self._steps.step("Readings become usage", len(meters)) as step:
            await usage_is_derived(self._db, _ASKER, meters, start, end, step, _PATIENCE_S)
        return {}

    async def _bills(self) -> Facts:
        today = datetime.now(UTC).astimezone(ZONE).date()
        months = closed_months(self._plan.since, today, _BILLED_MONTHS)
        with self._steps.step("Bills and payments", len(months)) as step:
            # The worker would issue the bills of the past today.
            async with self._worker.paused():
                await bill_months(self._db, _ASKER, self._state.facts["project_id"], months, self._options.seed)
            step.advance(len(months))
        return {}

    async def _stays(self) -> Facts:
        vehicles = [flat.vehicle for flat in self._plan.flats if flat.vehicle is not None]
        lanes = {lane["direction"]: lane["device"] for line in example_site()["barriers"] for lane in line["lanes"]}
        until = datetime.now(UTC) - timedelta(minutes=1)
        stays = make_stays(self._options.seed, vehicles, until)
        # One that will have to pay, and one without a plate, last: the ids of the others do not depend on them.
        stays.append(Stay(Vehicle(OWING, "small"), until - timedelta(minutes=290), None))
        stays.append(Stay(Vehicle("", "small"), until - timedelta(minutes=150), None))
        passages = passages_of(self._options.seed, stays, lanes["entry"], lanes["exit"])
        unread = next(one.id for one in passages if not one.plate)
        passages += odd_passages(self._options.seed, until, lanes["entry"], lanes["exit"])
        with self._steps.step("Passages of the last days", len(passages)) as step:
            async with self._deliver() as deliverer:
                for start in range(0, len(passages), _PASSAGES_PER_BATCH):
                    batch = passages[start : start + _PASSAGES_PER_BATCH]
                    await deliverer.passages(batch)
                    step.advance(len(batch))
        with self._steps.step("Parking fees") as step:
            await pay_stays(self._db, _ASKER, self._state.facts["project_id"], self._options.seed, step)
        return {"unread_passage": unread}

    async def _users(self) -> Facts:
        with self._steps.step("Users"):
            facts = self._state.facts
            await create_users(
                self._installation.owner_dsn,
                self._installation.secrets,
                facts["project_id"],
                facts["resident_person_id"],
            )
        return {}

    async def _parking(self) -> Facts:
        facts = self._state.facts
        async with Database(self._installation.owner_dsn, None, max_size=1) as db, db.transaction(_ASKER) as conn:
            users = await user_ids(conn, (*STAFF, RESIDENT, MERCHANT))
        with self._steps.step("Permits, coupons, a shift"):
            async with self._db.transaction(_ASKER) as conn:
                place = await place_of(conn, facts["project_id"], facts["resident_person_id"], users)
            await furnish(self._db, _ASKER, place, _id(facts.get("unread_passage")), datetime.now(UTC))
        return {}

    def _deliver(self) -> AbstractAsyncContextManager[Delivery]:
        os.environ[_PASSWORD_ENV] = self._installation.secrets["broker-gateway"]
        broker = self._installation.gateway_broker(_PASSWORD_ENV)
        return delivery(self._options.folder / "history" / "outbox.sqlite", broker, PROJECT, GATEWAY)


def _id(text: str | None) -> UUID | None:
    """None for a demo whose stays were made before there were vehicles without a plate."""
    return None if text is None else UUID(text)
