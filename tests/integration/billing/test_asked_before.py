"""Re-ratings that somebody asked for and that findings held up are done the night after the findings are closed."""

from datetime import date
from decimal import Decimal

import pytest

from cloud.billing import service as billing
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.corrections import asked_before
from cloud.billing.jobs import HANDLERS
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.kit.periods import day_start
from cloud.metering.exceptions.service import decide
from tests.integration.billing.site import CHIEF, Site, make_site
from tests.worlds import World, world

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)


@world
async def site_world(db: Database) -> Site:
    """A flat that is billed for January; then a finding about it is opened, and a concession is approved for it."""
    made = await make_site(db, flats=1, services=("electricity",))
    await made.read(made.flats[0], "electricity", [300_000, 300_000])
    await made.run(JANUARY)
    zone = made.project.zone
    await made.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
           VALUES (%s, %s, 1, 'exchange', %s, %s) RETURNING id""",
        made.project.id, made.flats[0].meters["electricity"],
        day_start(date(2026, 1, 10), zone), day_start(date(2026, 1, 11), zone),
    )  # fmt: skip
    async with db.transaction(SYSTEM) as conn:
        new = NewConcession(
            "subsidy",
            "Subsidy",
            "percent",
            Decimal(10),
            JANUARY,
            None,
            "filed late",
            account_id=made.flats[0].account_id,
        )
        filed = await conceded.file_concession(conn, made.project.id, new)
        await conceded.approve_concession(conn, filed.terms.id, CHIEF, "is due")
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def asked(site: Site) -> int:
    """What the worker does with the last job that was asked for; it gives up where it cannot."""
    (job,) = await site.rows("SELECT id, payload FROM job WHERE kind = 'billing.re-rate' ORDER BY id DESC LIMIT 1")
    try:
        result = await HANDLERS["billing.re-rate"](JobContext(job["id"], site.project.id, job["payload"], site.db))
    except Conflict as error:
        await site.rows("UPDATE job SET state = 'failed', error = %s, finished_at = now() - interval '1 day' "
                        "WHERE id = %s RETURNING 1", f"{error.code}: {error.detail}", job["id"])  # fmt: skip
    else:
        assert result is not None
        await site.rows("UPDATE job SET state = 'done' WHERE id = %s RETURNING 1", job["id"])
    return int(job["id"])


async def night(site: Site, **payload: object) -> dict[str, object]:
    return await HANDLERS["billing.re-rate"](JobContext(1, None, payload, site.db)) or {}


async def close(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        (row,) = await site.rows("SELECT id FROM meter_exception")
        await decide(conn, [row["id"]], "dismiss", "chief", "looked at")


async def state(site: Site, job_id: int) -> billing.ReRating:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.re_rating(conn, job_id)


async def test_it_is_done_the_night_after_the_finding_is_closed(site: Site) -> None:
    job_id = await asked(site)
    assert (await state(site, job_id)).state == "failed"
    assert await night(site) == {"adjusted": 0, "waiting": 1}
    still = await state(site, job_id)
    assert still.state == "failed"
    assert still.error is not None
    assert still.error.startswith("open-exceptions: ")
    await close(site)
    assert await night(site) == {"adjusted": 1, "waiting": 0}
    done = await state(site, job_id)
    assert (done.state, done.error, done.adjusted) == ("done", None, 1)
    (adjustment,) = await site.rows("SELECT cause, difference FROM adjustment")
    assert (adjustment["cause"], adjustment["difference"]) == ("concession", Decimal("-14.65"))
    assert await night(site) == {"adjusted": 0, "waiting": 0}


async def test_what_is_still_tried_is_not_thrown_away_as_old(site: Site) -> None:
    """Jobs are kept for a while after they ended; this one has not."""
    job_id = await asked(site)
    await night(site)
    (job,) = await site.rows("SELECT finished_at > now() - interval '1 hour' AS young FROM job WHERE id = %s", job_id)
    assert job["young"]


async def test_another_project_is_left_alone_where_one_is_asked_for(site: Site) -> None:
    job_id = await asked(site)
    await close(site)
    assert await night(site, project_id=site.project.id + 1) == {"adjusted": 0, "waiting": 0}
    assert (await state(site, job_id)).state == "failed"
    assert (await night(site, project_id=site.project.id))["adjusted"] == 1


@pytest.mark.parametrize(("since", "left"), [(JANUARY, True), (date(2026, 1, 15), False)])
async def test_what_was_asked_for_again_is_left_to_the_later_job(site: Site, since: date, left: bool) -> None:
    """Unless that is about fewer days."""
    first = await asked(site)
    async with site.db.transaction(SYSTEM) as conn:
        wanted = billing.WantedReRating(site.flats[0].account_id, since, "concession", "bill")
        await billing.ask_to_rerate(conn, wanted, by=None)
    await asked(site)
    assert len(await site.rows("SELECT FROM adjustment")) == 1
    await close(site)
    await night(site)
    assert (await state(site, first)).state == ("failed" if left else "done")
    assert len(await site.rows("SELECT FROM adjustment")) == 1


async def test_one_that_breaks_holds_up_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await asked(site)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.ask_to_rerate(conn, billing.WantedReRating(site.flats[0].account_id, JANUARY, "facts"), by=None)
    second = await asked(site)
    await close(site)
    real = billing.rerate_account

    async def breaks(*args: object, **kwargs: object) -> object:
        if kwargs["cause"] == "concession":
            raise KeyError("whatever it is")
        return await real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(asked_before, "rerate_account", breaks)
    assert (await night(site))["waiting"] == 1
    assert ((await state(site, first)).error, (await state(site, second)).state) == (
        "fault: KeyError: 'whatever it is'",
        "done",
    )
