"""A home to which random things happen: its bills, what was agreed on and filed, and what it should come to."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.service import Ending, RunOptions
from cloud.estate import service as estate
from cloud.estate.occupancies import repository as occupancy_repository
from cloud.estate.occupancies import service as occupancies
from cloud.estate.records import Household
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.jobs import JobContext
from cloud.kit.periods import Period, day_start, next_month
from cloud.payments import service as payments
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.random_tariffs import random_content
from tests.integration.billing.site import CHIEF, SINCE, Site, failures_of, make_site, noon
from tests.integration.metering.test_derivation import derive
from tests.unit.cloud.tariffs.reference_of_bills import DAY, Books, Home

MONTHS = [date(2026, n, 1) for n in range(1, 6)]
ENDS = [next_month(month) for month in MONTHS]
FROM = 5_000_000
STAYS = date(2099, 1, 1)
ESTIMATE = RunOptions(
    missing_readings="estimate", estimate_limit=len(MONTHS), estimate_reason="nobody was at home", issue_at_once=True
)


class History:
    """A home, what was done to it, and what is known of it."""

    def __init__(self, site: Site, random: Random, shape: dict[str, Any]) -> None:
        self.site, self.random, self.shape, self.flat = site, random, shape, site.flats[0]
        self.meter = self.flat.meters["electricity"]
        self.used = [random.randrange(0, random.choice([2_000, 1_500_000])) for _ in MONTHS]
        self.known: dict[int, int] = {}
        self.versions: list[tuple[date, TariffContent]] = []
        self.accounts: list[tuple[int, date]] = []
        self.bills: list[tuple[int, date, date, date]] = []
        """Account, first day, end, and the end of its stay as it was known."""
        self.billed = SINCE
        self.preview: int | None = None
        self.moved_out: date | None = None
        self.told: list[str] = []
        self.agreed: list[tuple[str, Any]] = []
        """Concessions and floor areas."""

    # What the meter says.

    async def learn(self, nth: int) -> None:
        """The reading at the end of a month comes, or all that are known are put right."""
        self.known[nth] = 0
        await self._say()

    async def put_right(self) -> None:
        """Another quantity was used in a month: all later registers stand otherwise."""
        self.used[self.random.randrange(len(MONTHS))] = self.random.randrange(0, 1_500_000)
        await self._say()

    async def _say(self) -> None:
        zone, db = self.site.project.zone, self.site.db
        right = {nth: FROM + sum(self.used[: nth + 1]) for nth in self.known}
        changed = {nth: value for nth, value in right.items() if self.known[nth] != value}
        if not changed:
            return
        async with db.transaction(SYSTEM) as conn:
            for nth, value in changed.items():
                at = day_start(ENDS[nth], zone)
                await conn.execute(
                    """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                       VALUES (%s, 1, %s, %s, %s)
                       ON CONFLICT (meter_id, channel, taken_at) DO UPDATE SET value = EXCLUDED.value""",
                    (self.meter, at, value, self.site.project.id),
                )
            await conn.execute(
                """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
                   VALUES (%s, 1, %s, %s, %s)""",
                (self.meter, self.site.project.id, day_start(SINCE, zone), day_start(ENDS[-1], zone)),
            )
        self.known = right
        await derive(db)

    # Who lives there.

    def day(self) -> date:
        """Mostly the first of a month."""
        month = self.random.choice(MONTHS)
        return month if self.random.random() < 0.5 else month + self.random.randrange(28) * DAY

    async def persons(self) -> None:
        """A number is filed, put right, ended or taken back, as far as that is possible."""
        try:
            await self._file()
        except (Conflict, InvalidInput):
            return

    async def _file(self) -> None:
        async with self.site.db.transaction(SYSTEM) as conn:
            filed = await occupancy_repository.locked_households(conn, self.flat.unit_id)
            kind = self.random.choice(["file", "file", "right", "end", "back"])
            one = self.random.choice(filed) if filed else None
            if kind == "file" or one is None:
                count = self.random.randrange(0, 8)
                await occupancies.file_persons(conn, self.site.project.id, self.flat.unit_id, count, self.day())
            elif kind == "right":
                await occupancies.change_household(conn, one.id, persons=self.random.randrange(0, 8))
            elif kind == "end":
                await occupancies.change_household(conn, one.id, valid_until=self.random.choice([self.day(), None]))
            else:
                await occupancies.delete_household(conn, one.id, go_back=self.random.random() < 0.5)

    async def households(self) -> list[Household]:
        """What is filed."""
        async with self.site.db.transaction(SYSTEM) as conn:
            return await occupancy_repository.locked_households(conn, self.flat.unit_id)

    async def filings(self) -> list[tuple[date, int]]:
        """Persons by the day from which they are filed; nobody where nothing is."""
        filed = await self.households()
        found: dict[date, int] = {}
        for one in filed:
            found[one.valid.start] = one.persons
            if one.valid.end is not None:
                found.setdefault(one.valid.end, 0)
        starts = {one.valid.start: one.persons for one in filed}
        return sorted((found | starts).items())

    # Prices and bills.

    async def price(self) -> None:
        """A new version holds from a month on that nobody has billed."""
        last = max(self.billed, self.versions[-1][0]) if self.versions else SINCE - DAY
        free = [month for month in MONTHS if month > last]
        if self.preview is not None or not free:
            return
        since = self.random.choice(free) if self.versions else SINCE
        document = random_content(self.random).model_dump(mode="json") | self.shape
        await self.publish(since, TariffContent.model_validate(document))

    async def publish(self, since: date, content: TariffContent) -> None:
        """A version of the tariff."""
        async with self.site.db.transaction(SYSTEM) as conn:
            await tariffs.publish(conn, self.site.project.id, "power", "Power", "electricity", content, since)
        self.versions.append((since, content))

    async def bill(self) -> None:
        """The next month is billed: at once, or as a preview that is issued or thrown away later."""
        if self.preview is not None:
            await self.decide()
        if self.billed >= ENDS[-1]:
            return
        at_once = self.random.random() < 0.7
        period = Period(self.billed, next_month(self.billed))
        run = await self._run(period, at_once=at_once)
        self.preview = None if at_once else run
        mine = self.accounts[-1]
        self.bills.append((mine[0], period.start, period.end, STAYS))
        self.billed = period.end

    async def _run(self, period: Period, *, at_once: bool) -> int:
        options = replace(ESTIMATE, issue_at_once=at_once)
        return await self._billed(lambda conn: billing.start_run(conn, self.site.project.id, period, options=options))

    async def _billed(self, start: Callable[[Conn], Awaitable[int]]) -> int:
        """Does a run. A bill that its neighbour covers by what was read wrongly waits until that is rated again."""
        for again in (False, True):
            async with self.site.db.transaction(SYSTEM) as conn:
                run = await billing.run_of_job(conn, await start(conn))
            done = await billing.execute_run(self.site.db, SYSTEM, run.id, now=noon(run.period.end))
            async with self.site.db.transaction(SYSTEM) as conn:
                failures = await failures_of(conn, run.id)
                if not failures:
                    break
                assert not again, failures
                assert [one.code for one in failures] == ["bills-overlap"], failures
                if done.state == "preview":
                    await billing.cancel_run(conn, run.id)
            await self.rate()
        return run.id

    async def decide(self) -> None:
        """A preview is issued, or thrown away and made anew another time."""
        if self.preview is None:
            return
        async with self.site.db.transaction(SYSTEM) as conn:
            if self.random.random() < 0.3:
                await billing.cancel_run(conn, self.preview)
                _, self.billed, _, _ = self.bills.pop()
                self.preview = None
                return
            await billing.approve_run(conn, self.preview)
        await billing.issue_run(self.site.db, SYSTEM, self.preview, now=noon(self.billed))
        self.preview = None

    async def move(self) -> None:
        """Who pays moves out at the end of a month, and another one moves in."""
        ends = [end for end in ENDS[:-1] if end > self.billed]
        if self.moved_out is not None or self.preview is not None or not ends:
            return
        account_id, _ = self.accounts[-1]
        end, since = self.random.choice(ends[:2]), self.billed
        await self.final_bill(end)
        self.bills.append((account_id, since, end, end))
        self.billed = self.moved_out = end

    async def final_bill(self, end: date) -> None:
        """The account ends; the next one begins."""
        ending, flat = Ending(self.accounts[-1][0], end), self.flat
        await self._billed(lambda conn: billing.start_final_bill(conn, ending, options=ESTIMATE))
        async with self.site.db.transaction(SYSTEM) as conn:
            made = await estate.create_account(conn, self.site.project.id, "A-NEXT", flat.unit_id, flat.person_id, end)
        await self.agree(made.id, end)

    async def agree(self, account_id: int, since: date) -> None:
        """Who pays for the meter from a day on."""
        async with self.site.db.transaction(SYSTEM) as conn:
            tariff = await tariffs.tariff_of_code(conn, self.site.project.id, "power")
            assert tariff is not None
            await billing.create_agreement(
                conn, self.site.project.id, account_id, "electricity", tariff.id, self.meter, None, since
            )
        self.accounts.append((account_id, since))

    # What is agreed on of days that may be past.

    async def agree_on(self) -> None:
        """A concession, or another floor area, as far as no draft charges these days."""
        kind, day = self.random.choice(["concession", "area"]), self.day()
        told: Any = Decimal(self.random.randrange(2_000, 15_000)) / 100
        if kind == "concession":
            until = self.random.choice([None, day + self.random.randrange(1, 60) * DAY])
            percent = Decimal(self.random.randrange(1, 100))
            components = self.random.choice([(), ("energy",)])
            told = NewConcession(
                "subsidy", "Aid", "percent", percent, day, until, "form", unit_id=self.flat.unit_id,
                components=components,
            )  # fmt: skip
        try:
            await self.apply(kind, day, told)
        except (Conflict, InvalidInput):
            return
        self.agreed.append((kind, (day, told)))
        await self.work()

    async def apply(self, kind: str, day: date, told: Any) -> None:
        """Files it, and approves what is to be approved."""
        project_id = self.site.project.id
        async with self.site.db.transaction(SYSTEM) as conn:
            if kind == "area":
                await billing.file_area(conn, project_id, self.flat.unit_id, day, told, "measured")
                return
            row = await conceded.file_concession(conn, project_id, told)
            await conceded.approve_concession(conn, row.terms.id, CHIEF, "papers seen")

    async def work(self) -> None:
        """Does the re-ratings that were asked for."""
        asked = await self.site.rows("DELETE FROM job WHERE kind = 'billing.re-rate' RETURNING payload")
        for job in asked:
            await jobs.re_rate(JobContext(1, self.site.project.id, job["payload"], self.site.db))

    # Money.

    async def money(self) -> None:
        """A payment, a note of what waits, or a gift on a line of a bill."""
        account_id, _ = self.random.choice(self.accounts)
        kind = self.random.choice(["pay", "adjustments", "gift"])
        rows = [one for one in await self.site.bills(account_id=account_id) if one.kind == "bill" and one.number]
        try:
            async with self.site.db.transaction(SYSTEM) as conn:
                if kind == "pay":
                    amount = Decimal(self.random.randrange(1, 99_999)) / 100
                    await payments.record_payment(conn, account_id, amount, "cash", MONTHS[-1])
                    return
                if kind == "adjustments":
                    note = await billing.note_of_adjustments(conn, account_id, "asked", by=None)
                elif rows:
                    bill = await billing.get_bill(conn, self.random.choice(rows).id)
                    lines = [line for line in bill.lines if line.kind != "adjustment" and line.amount > 0]
                    if not lines:
                        return
                    line = self.random.choice(lines)
                    amount = min(line.amount, Decimal(self.random.choice(["0.01", "7.77", "99999"])))
                    part = billing.Part(line.position, amount)
                    note = await billing.note_of_bill(
                        conn, bill.summary.id, "credit_note", [part], "a gift", "goodwill", by=None
                    )
                else:
                    return
                await billing.approve_note(conn, note.id, by=None, now=noon(ENDS[-1]))
        except (Conflict, InvalidInput):
            return

    async def rate(self) -> None:
        """What the job of the night does, in its order."""
        await billing.rerate_late(self.site.db, SYSTEM, self.site.project.id)
        await billing.rerate_filed(self.site.db, SYSTEM, self.site.project.id)

    async def expected(self) -> list[Decimal]:
        """What the reference makes of it, by account and time."""
        persons, found = await self.filings(), []
        used = {
            month + n * DAY: [("all", Decimal(wh if n == 0 else 0).scaleb(-3))]
            for month, wh in zip(MONTHS, self.used, strict=True)
            for n in range((next_month(month) - month).days)
        }
        area = Decimal("89.50")
        books = {one: Books(self.versions, Home(since, STAYS, used, persons, area)) for one, since in self.accounts}
        for account_id, start, end, stays in self.bills:
            book = books[account_id]
            book.home = Home(book.home.moved_in, stays, used, persons, area)
            found += [result.total for result in book.bill(start, end)]
        return found

    async def from_the_start(self) -> list[Decimal]:
        """What the same bills come to in another project where everything is known before anything is billed."""
        filed = await self.households()
        await self.site.rows("UPDATE project SET code = 'first' RETURNING 1")
        again = await fresh(self.site.db, self.shape, self.versions, zone=self.site.project.zone.key)
        async with again.site.db.transaction(SYSTEM) as conn:
            for one in filed:
                await occupancies.create_household(
                    conn, again.site.project.id, again.flat.unit_id, one.persons, one.valid.start, one.valid.end
                )
        for kind, (day, told) in self.agreed:
            mine = told if kind == "area" else replace(told, unit_id=again.flat.unit_id)
            await again.apply(kind, day, mine)
        again.used = self.used
        for nth in range(len(ENDS)):
            await again.learn(nth)
        for _, start, end, stays in self.bills:
            if stays == STAYS:
                await again._run(Period(start, end), at_once=True)
            else:
                await again.final_bill(end)
        return [one["amount"] for one in await again.standing()]

    async def standing(self) -> list[dict[str, Any]]:
        """Charges as they stand, what documents and what waits for one make of them, and the gifts among that."""
        return await self.site.rows(
            """SELECT coalesce(r.amount, c.amount) AS amount,
                      coalesce((SELECT sum(l.amount) FROM bill_line l WHERE l.charge_id = c.id), 0)
                      + coalesce((SELECT sum((d ->> 'amount')::numeric) FROM adjustment x,
                                         jsonb_array_elements(x.differences) d
                                  WHERE x.charge_id = c.id AND x.difference <> 0
                                    AND x.id NOT IN (SELECT adjustment_id FROM billed_adjustment)), 0) AS lines,
                      coalesce((SELECT -sum(l.amount) FROM bill_line l JOIN bill n ON n.id = l.bill_id
                                WHERE l.charge_id = c.id AND n.kind = 'credit_note'
                                  AND n.inputs -> 'note' ->> 'cause' = 'goodwill'), 0) AS gifts
               FROM charge c JOIN service_agreement s ON s.id = c.agreement_id
               LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id
                                  ORDER BY revision DESC LIMIT 1) r ON true
               WHERE c.meter_id = %s ORDER BY s.account_id, c.period""",
            self.meter,
        )


async def fresh(
    db: Database,
    shape: dict[str, Any],
    versions: Sequence[tuple[date, TariffContent]] = (),
    random: Random | None = None,
    zone: str = "Asia/Shanghai",
) -> History:
    """A home whose meter was read once; its tariff has these versions, or one at random."""
    site = await make_site(db, flats=1, services=(), zone=zone)
    async with db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, site.project.id, date(2025, 1, 1), billing.Policy(own_approval=True))
    history = History(site, random or Random(0), shape)
    for since, content in versions:
        await history.publish(since, content)
    if not versions:
        await history.price()
    await history.agree(site.flats[0].account_id, SINCE)
    await site.rows(
        """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, %s, %s, %s, %s)
           RETURNING 1""",
        history.meter, 1, day_start(SINCE, site.project.zone), FROM, site.project.id,
    )  # fmt: skip
    return history
