"""A project in which everything about money has happened at least once: what is searched for floats and changes."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.billing.service import Policy, set_policy
from cloud.kit.db import SYSTEM
from tests.acceptance.money.office import Office
from tests.integration.billing.late import count_otherwise, late
from tests.integration.payments.owing import JANUARY, RULE

FEBRUARY = date(2026, 2, 1)


@dataclass(frozen=True, slots=True)
class History:
    """What was made, by the names that paths of the API have for it."""

    ids: dict[str, int]


async def everything_happens(office: Office) -> History:
    """Bills, a late reading, an adjustment on the next bill, a credit note, payments, fees, a dispute, a plan."""
    site, (first, second) = office.site, office.site.flats
    async with site.db.transaction(SYSTEM) as conn:
        policy = Policy(due_days=15, late_fee=LateFeeRule(daily_rate=RULE.daily_rate, grace_days=1), own_approval=True)
        await set_policy(conn, site.project.id, date(2025, 1, 1), policy)
    concession = await office.post(
        "concessions", project_id=site.project.id, account_id=second.account_id, rule="subsidy", name="Veterans",
        kind="percent", value="12.5", valid_from="2026-01-01", reason="decree",
    )  # fmt: skip
    await office.post(f"concessions/{concession['id']}/approvals", reason="papers seen")
    await site.run(JANUARY)
    await count_otherwise(site, first, JANUARY, 100_000)
    await late(site)
    await site.run(FEBRUARY)
    oldest, *_ = await office.bills(first)
    note = await office.post(
        f"bills/{oldest['id']}/notes", kind="credit_note", lines=[{"position": 1, "amount": "5.00"}], reason="goodwill"
    )
    await office.post(f"notes/{note['id']}/approvals")
    ids = await _arrears(office, oldest["id"])
    return History(ids | {"concession_id": concession["id"], **await _books(office)})


async def _arrears(office: Office, bill_id: int) -> dict[str, int]:
    """What becomes of bills of two flats that are paid late or not at all."""
    first, second = office.site.flats
    paid = {"method": "cash", "paid_on": "2026-04-01"}
    await office.post("payments", account_id=first.account_id, amount="100.37", **paid)
    deposit = await office.post(
        "deposits", account_id=first.account_id, amount="500", method="cash", taken_on="2026-04-01", subject="keys"
    )
    await office.nightly("billing.late-fees")
    await office.post(f"bills/{bill_id}/late-fee-waivers", amount="0.37", reason="flood")
    dispute = await office.post(f"bills/{bill_id}/disputes", reason="too high", amount="10.33")
    owed = [bill["id"] for bill in await office.bills(second)]
    plan = await office.post(
        "instalment-plans", account_id=second.account_id, bill_ids=owed, reason="lost the job",
        monthly={"first": "2199-01-31", "count": 3},
    )  # fmt: skip
    return {
        "bill_id": bill_id, "account_id": first.account_id, "dispute_id": dispute["id"], "plan_id": plan["id"],
        "deposit_id": deposit["id"],
    }  # fmt: skip


async def _books(office: Office) -> dict[str, int]:
    """A proof, a voucher file, a tariff draft."""
    project_id = office.site.project.id
    await office.nightly("billing.prove-ledger")
    made: dict[str, Any] = await office.post(f"projects/{project_id}/voucher-exports", month="2026-02")
    tariff = (await office.items("tariffs"))[0]
    draft = await office.post(
        "tariff-drafts", project_id=project_id, code=tariff["code"], name="Dearer", valid_from="2199-01-01",
        content={
            "currency": "CNY", "service": tariff["service"], "unit": "kWh",
            "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.51234567"]}}],
        },
    )  # fmt: skip
    (agreement, *_) = await office.items("service-agreements")
    (run, *_) = await office.items("bill-runs")
    (version, *_) = await office.site.rows("SELECT id FROM tariff_version WHERE tariff_id = %s", tariff["id"])
    return {
        "project_id": project_id, "export_id": made["id"], "draft_id": draft["id"], "agreement_id": agreement["id"],
        "run_id": run["id"], "version_id": version["id"],
    }  # fmt: skip
