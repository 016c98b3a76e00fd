"""Promise 6: "Σ lines = bill; the ledger is double-entry and sums to zero; Σ shares = loss; a daily job proves it and
alarms."
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

import psycopg
import pytest
from apscheduler.triggers.cron import CronTrigger
from prometheus_client import REGISTRY

from cloud.billing.jobs import PROOF_JOB, SCHEDULE, LedgerDoesNotBalance
from cloud.kit.db import SYSTEM, Database
from tests.acceptance.money.history import everything_happens
from tests.acceptance.money.office import Office
from tests.integration.app import People
from tests.integration.metering.house import House, make_house, use_month
from tests.integration.payments.owing import JANUARY


@dataclass(frozen=True, slots=True)
class Plant:
    """Something that a promise rules out, put into the database by its owner with all triggers off."""

    finds: str
    statements: tuple[LiteralString, ...]


PLANTS = (
    Plant("bill", ("UPDATE bill_line SET amount = amount + 1 WHERE id = (SELECT min(id) FROM bill_line)",)),
    Plant("journal", ("UPDATE posting SET amount = amount + 1 WHERE id = (SELECT min(id) FROM posting)",)),
    Plant("ledger", ("UPDATE posting SET amount = amount + 0.01 WHERE id = (SELECT max(id) FROM posting)",)),
    Plant("empty-journal", ("DELETE FROM posting WHERE journal_id = (SELECT min(id) FROM journal)",)),
    Plant(
        "bill-journal",
        (
            """UPDATE posting SET amount = amount + sign(amount) WHERE id IN (
                   SELECT min(p.id) FROM posting p JOIN journal j ON j.id = p.journal_id AND j.source = 'bill'
                   WHERE j.id = (SELECT min(id) FROM journal WHERE source = 'bill') GROUP BY sign(p.amount))""",
        ),
    ),
    Plant(
        "receivable",
        (
            """UPDATE posting SET account_id = (SELECT max(id) FROM account WHERE number = 'A-0001')
               WHERE id = (SELECT min(id) FROM posting WHERE ledger_account = 'receivable')""",
        ),
    ),
    Plant("payment", ("UPDATE payment SET amount = amount + 7 WHERE purpose = 'bill'",)),
    Plant(
        "prepaid",
        (
            """WITH made AS (INSERT INTO journal (project_id, kind, booked_on, source, source_id, currency)
                             SELECT id, 'test', '2026-05-01', 'test', 1, 'CNY' FROM project WHERE code = 'demo'
                             RETURNING id, project_id)
               INSERT INTO posting (project_id, journal_id, ledger_account, account_id, amount)
               SELECT made.project_id, made.id, side.account, a.id, side.amount FROM made, account a,
                      (VALUES ('liability:prepaid', 5), ('cash:cash', -5)) AS side (account, amount)
               WHERE a.number = 'A-0000'""",
        ),
    ),
    Plant("series", ("UPDATE number_series SET next = next + 1 WHERE series LIKE 'bill-%'",)),
    Plant(
        "shares",
        (
            """UPDATE apportionment_share SET quantity = quantity + 1
               WHERE (run_id, unit_id) = (SELECT run_id, min(unit_id) FROM apportionment_share GROUP BY run_id LIMIT 1)
                 AND from_on = '2026-03-01'""",
        ),
    ),
)
TABLES: tuple[LiteralString, ...] = (
    "bill", "bill_line", "posting", "journal", "payment", "number_series", "apportionment_share",
)  # fmt: skip


def plant(owner_dsn: str, statements: Sequence[LiteralString]) -> None:
    """Nothing hinders the owner of a database who wants to cheat: only the proof finds him."""
    with psycopg.connect(owner_dsn) as owner:
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        for statement in statements:
            assert owner.execute(statement).rowcount > 0
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER".encode())


@pytest.fixture
async def house(worker_db: Database, people: People) -> House:
    """Another project: a master meter, three sub-meters, and a loss of 74.401 kWh in March."""
    async with worker_db.transaction(SYSTEM) as conn:
        made = await make_house(conn, await people.project("house"))
        for meter, used in zip([made.master, *made.subs], (1000, 300, 200, 400), strict=True):
            await use_month(conn, made, meter, used)
        await conn.execute(
            "UPDATE store.usage SET quantity = quantity + 1 WHERE (meter_id, start) = "
            "(SELECT meter_id, min(start) FROM store.usage WHERE meter_id = %s GROUP BY meter_id)",
            (made.master,),
        )
    return made


async def _share_out(office: Office, house: House) -> int:
    """Settles the loss of March by floor area, over REST; the run."""
    rule = await office.post(
        "apportionment-rules", project_id=house.project.id, name="Loss", medium="electricity", shared="loss",
        basis="area", meter_id=house.master, participants="building", building_id=house.building_id,
        valid_from="2026-01-01",
    )  # fmt: skip
    run = await office.post(f"apportionment-rules/{rule['id']}/runs", **{"from": "2026-03-01", "to": "2026-04-01"})
    return int(run["id"])


async def test_the_lines_of_every_bill_add_up_to_it(office: Office) -> None:
    await everything_happens(office)
    bills = [await office.whole(bill) for bill in await office.bills()]
    assert {bill["kind"] for bill in bills} == {"bill", "credit_note"}
    for bill in bills:
        charged = [line for charge in bill["charges"] for line in charge["lines"]]
        lines = [Decimal(line["amount"]["amount"]) for line in (*charged, *bill["corrections"])]
        assert sum(lines, Decimal(0)) == Decimal(bill["total"]["amount"])


async def test_a_bill_that_is_not_the_sum_of_its_lines_cannot_be_issued(office: Office) -> None:
    run = await office.preview(JANUARY)
    wrong, right = office.site.flats
    await office.site.rows(
        """UPDATE bill_line l SET amount = l.amount + 0.01 FROM bill b
           WHERE b.id = l.bill_id AND b.account_id = %s AND l.position = 1 RETURNING 1""",
        wrong.account_id,
    )
    with pytest.raises(psycopg.IntegrityError, match=r"lines add up to 417\.07, total is 417\.06"):
        await office.site.rows(
            """UPDATE bill SET state = 'issued', number = 'X', issued_on = '2026-02-01', due_on = '2026-02-16'
               WHERE account_id = %s RETURNING 1""",
            wrong.account_id,
        )
    run = await office.approve(run)
    assert [(one["account_id"], one["code"]) for one in run["failures"]] == [(wrong.account_id, "refused")]
    assert [bill["account_id"] for bill in await office.bills()] == [right.account_id]


async def test_the_ledger_is_double_entry_and_sums_to_zero(office: Office) -> None:
    await everything_happens(office)
    sums = await office.site.rows("SELECT sum(amount) AS amount, count(*) AS sides FROM posting GROUP BY journal_id")
    assert len(sums) >= 7
    assert {(one["amount"], one["sides"] >= 2) for one in sums} == {(Decimal(0), True)}
    path, days = f"projects/{office.site.project.id}/trial-balance", {"from": "2026-01-01", "to": "2100-01-01"}
    total = (await office.get(path, **days))["total"]
    assert (total["closing"]["amount"], total["debit"]) == ("0.00", total["credit"])
    # And one that does not is refused by the database.
    for amounts in ((1,), (1, -2)):
        with pytest.raises(psycopg.IntegrityError, match="does not balance"):
            await office.site.rows(
                """WITH made AS (INSERT INTO journal (project_id, kind, booked_on, source, source_id, currency)
                                 VALUES (%s, 'test', '2026-05-01', 'test', 1, 'CNY') RETURNING id, project_id)
                   INSERT INTO posting (project_id, journal_id, ledger_account, amount)
                   SELECT project_id, id, 'test', amount FROM made, unnest(%s::numeric[]) AS amount RETURNING 1""",
                office.site.project.id, list(amounts),
            )  # fmt: skip


async def test_the_shares_of_a_loss_add_up_to_it_to_the_last_watt_hour(office: Office, house: House) -> None:
    run_id = await _share_out(office, house)
    shares = (await office.get(f"apportionment-runs/{run_id}/shares"))["items"]
    assert len(shares) == 4, "three units, one of them with two tenants"
    assert sum(Decimal(one["quantity"]["quantity"]) for one in shares) == Decimal("74.401")


def test_the_proof_is_done_every_day() -> None:
    (cron,) = [one.cron for one in SCHEDULE if one.kind == PROOF_JOB]
    trigger = CronTrigger.from_crontab(cron, timezone="UTC")
    first = trigger.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC))
    assert first is not None
    assert trigger.get_next_fire_time(first, first + timedelta(seconds=1)) == first + timedelta(days=1)


async def test_it_finds_nothing_where_all_is_well(office: Office, house: House) -> None:
    await everything_happens(office)
    await _share_out(office, house)
    assert await office.nightly(PROOF_JOB) == {"projects": 2}
    for project in (office.site.project, house.project):
        assert REGISTRY.get_sample_value("gatemeter_ledger_discrepancies", {"project": project.code}) == 0
        assert (await office.items(f"projects/{project.id}/ledger-proofs"))[-1]["discrepancies"] == 0


@pytest.mark.parametrize("planted", PLANTS, ids=lambda one: one.finds)
async def test_it_finds_what_somebody_planted_and_alarms(
    office: Office, house: House, owner_dsn: str, planted: Plant
) -> None:
    await office.site.run(JANUARY)
    paid = {"account_id": office.site.flats[0].account_id, "method": "cash", "paid_on": "2026-04-01"}
    await office.post("payments", amount="100.37", **paid)
    await _share_out(office, house)
    plant(owner_dsn, planted.statements)
    with pytest.raises(LedgerDoesNotBalance, match=rf": {planted.finds} \d+: expected"):
        await office.nightly(PROOF_JOB)
    project = house.project if planted.finds == "shares" else office.site.project
    shown = REGISTRY.get_sample_value("gatemeter_ledger_discrepancies", {"project": project.code})
    assert shown is not None
    assert shown > 0
    kept = (await office.items(f"projects/{project.id}/ledger-proofs"))[-1]
    assert kept["discrepancies"] == shown
    assert planted.finds in {one["what"] for one in kept["found"]}
    (doctor,) = await office.site.rows("SELECT wrong FROM gm.ledger_proved()")
    assert doctor["wrong"] == 1, "`gatemeter doctor` says so too"
