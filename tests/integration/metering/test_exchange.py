"""Exchanges, removals and their undoing, at the level of the tables."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from cloud.devices import bindings
from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput
from cloud.kit.paging import PageRequest
from cloud.metering import service
from cloud.metering.assets import service as assets
from cloud.metering.assets.registers import registers_of
from cloud.metering.exchanges import service as exchange
from cloud.metering.exchanges.records import ChannelEnd, Exchange, Removal
from cloud.metering.records import MeterRegister
from gateway.contract.messages import Point
from tests.integration.metering.site import MODULUS, START_MS, Site, hourly, make_site, message
from tests.integration.metering.test_derivation import derive
from tests.worlds import World, world

START = datetime.fromtimestamp(START_MS / 1000, UTC)
AT = START + timedelta(hours=10, minutes=30)
NOW = START + timedelta(days=2)
WHO = "user:test"


@world
async def site_world(db: Database) -> Site:
    """m1 reads 5000, 5100 … 6000 Wh on eleven hours, then (the new meter) 7, 107, 207; nothing is dirty."""
    site = await make_site(db)
    old = hourly("m1", 0, range(5_000, 6_001, 100))
    new = hourly("m1", 11, [7, 107, 207])
    async with Database(db.dsn, "gatemeter_ingest", max_size=1) as ingest_db:
        await Writer(ingest_db).store([message(1, [*old, *new, Point("m1", "energy_import_peak", START_MS, 40)])])
    await derive(db)
    return site


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


def wish(site: Site, **said: object) -> Exchange:
    return replace(Exchange(site.meters[0], AT, "exchanged", 6_020, 0, serial="N-2"), **said)  # type: ignore[arg-type]


def staff(site: Site) -> Asker:
    return Asker(kind="staff", projects=(site.project_id,), user_id=7)


async def history(conn: Conn, site: Site) -> list[MeterRegister]:
    return (await registers_of(conn, [site.meters[0]]))[site.meters[0]]


async def dirty(db: Database) -> Sequence[tuple[int, datetime, datetime]]:
    async with db.transaction(SYSTEM) as conn:
        query = "SELECT channel, from_at, until_at FROM store.dirty_window ORDER BY channel"
        return [tuple(row.values()) for row in await (await conn.execute(query)).fetchall()]


async def test_an_exchange_changes_the_register_at_its_instant(
    web_db: Database, worker_db: Database, site: Site
) -> None:
    wanted = wish(site, multiplier=Decimal(2), bounds=(10**8, 10), max_per_hour=9_000, rating={"phases": 1},
                  others=(ChannelEnd(3, 40, 0),), verification_due=date(2030, 1, 1), note="worn")  # fmt: skip
    async with web_db.transaction(staff(site)) as conn:
        plan = await exchange.plan_exchange(conn, wanted, NOW)
        made = await exchange.exchange(conn, wanted, WHO, NOW)
        old, new = await history(conn, site)
        meter = await service.get_meter(conn, site.meters[0])

    main, peak = plan.outcomes
    # (6020 - 6000) x 1 before, (7 - 0) x 2 after.
    assert (main.used_before, main.used_after, main.used) == (20, 14, 34)
    assert (peak.end.channel, peak.used_before, peak.used_after) == (3, 0, None)
    assert plan.warnings == ()
    assert (old.valid_until, new.valid_from, new.valid_until) == (AT, AT, None)
    assert (old.ends, new.ends) == ({1: (None, 6_020), 3: (None, 40)}, {1: (0, None), 3: (0, None)})
    assert (new.reason, new.serial, new.multiplier, new.modulus, new.resolution) == (
        "exchanged", "N-2", Decimal(2), 10**8, 10,
    )  # fmt: skip
    assert (new.max_per_hour, new.rating, new.note) == (9_000, {"phases": 1}, "worn")
    assert (meter.serial, meter.verification_due, meter.removed_on) == ("N-2", date(2030, 1, 1), None)
    assert (made.kind, made.actor, made.undone_at) == ("exchanged", WHO, None)
    last = START + timedelta(hours=13)
    assert await dirty(worker_db) == [(1, AT, last), (3, AT, AT)]


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"final": None}, "missing-final", "final"),
        ({"initial": None}, "missing-initial", "initial"),
        ({"at": NOW + timedelta(seconds=1)}, "change-in-future", "at"),
        ({"at": datetime(2024, 12, 31, tzinfo=UTC)}, "change-too-early", "at"),
        ({"final": 5_999}, "below-last-reading", "final"),
        ({"final": MODULUS}, "bad-final", "final"),
        ({"final": -1}, "bad-final", "final"),
        ({"initial": 10**8, "bounds": (10**8, 1)}, "bad-initial", "initial"),
        ({"multiplier": Decimal("1.00001")}, "bad-multiplier", "multiplier"),
        ({"multiplier": Decimal(10**8)}, "bad-multiplier", "multiplier"),
        ({"reason": "multiplier"}, "same-multiplier", "multiplier"),
        ({"reason": "multiplier", "multiplier": Decimal(3), "initial": 5}, "bad-initial", "initial"),
        ({"others": (ChannelEnd(42, 1, 1),)}, "unknown-channel", "others.voltage_l1"),
        ({"others": (ChannelEnd(3, 41, 0), ChannelEnd(3, 42, 0))}, "same-channel-twice", "others.energy_import_peak"),
        ({"others": (ChannelEnd(3, 39, 0),)}, "below-last-reading", "others.energy_import_peak"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_the_field(
    web_db: Database, worker_db: Database, site: Site, said: dict[str, object], code: str, field: str
) -> None:
    if code == "unknown-channel" or field.startswith("others"):
        said = {"final": 6_020, **said}
    with pytest.raises(InvalidInput) as caught:
        async with web_db.transaction(staff(site)) as conn:
            await exchange.exchange(conn, wish(site, **said), WHO, NOW)
    assert (caught.value.code, caught.value.field) == (code, field)
    async with worker_db.transaction(SYSTEM) as conn:
        assert len(await history(conn, site)) == 1
    assert await dirty(worker_db) == []


async def test_exchanges_do_not_overlap(web_db: Database, site: Site) -> None:
    async with web_db.transaction(staff(site)) as conn:
        await exchange.exchange(conn, wish(site), WHO, NOW)
    for at in (AT, AT - timedelta(hours=1)):
        with pytest.raises(InvalidInput) as caught:
            async with web_db.transaction(staff(site)) as conn:
                await exchange.exchange(conn, wish(site, at=at), WHO, NOW)
        assert (caught.value.code, caught.value.field) == ("change-too-early", "at")


async def test_a_reading_that_staff_set_aside_is_not_the_last_one(web_db: Database, site: Site) -> None:
    edit = """INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, value, reason, actor)
              VALUES (%s, %s, 1, %s, %s, %s, %s, 'wrong', 'x')"""
    ten = START + timedelta(hours=10)
    key = (site.project_id, site.meters[0], ten)
    seen = []
    for version, (action, value) in enumerate([("ignore", None), ("original", None), ("set", 5_950)], start=1):
        async with web_db.transaction(staff(site)) as conn:
            await conn.execute(edit, (*key, version, action, value))
            plan = await exchange.plan_exchange(conn, wish(site), NOW)
            last = plan.outcomes[0].neighbours.before
            assert last is not None
            seen.append((last.taken_at, last.value))
    assert seen == [(ten - timedelta(hours=1), 5_900), (ten, 6_000), (ten, 5_950)]


async def test_a_final_reading_after_the_rollover_is_plausible(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    await Writer(ingest_db).store([message(2, hourly("m2", 0, [MODULUS - 50]))])
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = Exchange(site.meters[1], START + timedelta(hours=1), "exchanged", 30, 500)
        plan = await exchange.plan_exchange(conn, wanted, NOW)
    assert (plan.outcomes[0].used_before, plan.warnings) == (80, ())


async def test_a_person_is_warned_of_what_is_possible_but_odd(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        # 60 kWh an hour for the half hour and a minute: 31 kWh and no more.
        fits = await exchange.plan_exchange(conn, wish(site, final=6_000 + 31_000), NOW)
        odd = await exchange.plan_exchange(conn, wish(site, final=6_000 + 31_002, initial=8), NOW)
        alone = await exchange.plan_exchange(conn, replace(wish(site), meter_id=site.meters[2]), NOW)
    # The peak register was read as well, and nobody said where it stood.
    assert [(one.code, one.channel) for one in fits.warnings] == [("ends-missing", 3)]
    assert [(one.code, one.channel) for one in odd.warnings] == [
        ("above-maximum", 1), ("next-does-not-fit", 1), ("ends-missing", 3),
    ]  # fmt: skip
    assert [(one.code, one.channel) for one in alone.warnings] == [("nothing-to-compare", 1)]


async def test_another_multiplier_needs_one_reading(web_db: Database, site: Site) -> None:
    async with web_db.transaction(staff(site)) as conn:
        wanted = wish(site, reason="multiplier", multiplier=Decimal(40), initial=None, serial="", bounds=(10, 1))
        made = await exchange.exchange(conn, wanted, WHO, NOW)
        old, new = await history(conn, site)
    assert (made.kind, int(old.multiplier), int(new.multiplier), new.reason) == ("multiplier", 1, 40, "multiplier")
    assert (old.ends, new.ends) == ({1: (None, 6_020)}, {1: (6_020, None)})
    assert (new.modulus, new.serial) == (old.modulus, old.serial)


async def test_the_new_device_takes_over_and_gives_back(web_db: Database, worker_db: Database, site: Site) -> None:
    async with web_db.transaction(staff(site)) as conn:
        made = await exchange.exchange(conn, wish(site, device_id=site.spare), WHO, NOW)
        moved = (await bindings.list_bindings(conn, PageRequest(), meter_id=site.meters[0])).items
    assert [(one.device_code, one.valid_from, one.valid_until) for one in moved] == [
        ("spare", AT, None), ("m1", datetime(2025, 1, 1, tzinfo=UTC), AT),
    ]  # fmt: skip
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.dirty_window")
    async with web_db.transaction(staff(site)) as conn:
        undone = await exchange.undo(conn, site.meters[0], made.id, "user:other", "wrong meter")
        back = (await bindings.list_bindings(conn, PageRequest(), meter_id=site.meters[0])).items
        registers = await history(conn, site)
        audited = await (
            await conn.execute("SELECT action FROM audit_entry WHERE table_name = 'meter_register' ORDER BY id")
        ).fetchall()
    assert [(one.device_code, one.valid_until) for one in back] == [("m1", None)]
    assert [(one.valid_until, one.ends) for one in registers] == [(None, {})]
    assert (undone.undone_by, undone.undone_reason) == ("user:other", "wrong meter")
    assert [row["action"] for row in audited][-2:] == ["delete", "update"]
    assert [row[:2] for row in await dirty(worker_db)] == [(1, AT), (3, AT)]


async def test_a_device_that_carries_another_meter_is_in_the_way(web_db: Database, site: Site) -> None:
    with pytest.raises(Conflict) as caught:
        async with web_db.transaction(staff(site)) as conn:
            await exchange.exchange(conn, wish(site, device_id=site.devices[1]), WHO, NOW)
    assert caught.value.code == "binding-overlap"
    assert f"gw-1/m2 carries meter {site.meters[1]}" in caught.value.detail
    async with web_db.transaction(staff(site)) as conn:
        assert len(await history(conn, site)) == 1


async def test_only_the_last_procedure_is_undone_once_and_with_a_reason(web_db: Database, site: Site) -> None:
    meter_id = site.meters[0]
    async with web_db.transaction(staff(site)) as conn:
        first = await exchange.exchange(conn, wish(site), WHO, NOW)
        second = await exchange.exchange(conn, wish(site, at=NOW - timedelta(hours=1), final=300), WHO, NOW)

    async def refused(procedure_id: int, reason: str) -> str:
        with pytest.raises(GatemeterError) as caught:
            async with web_db.transaction(staff(site)) as conn:
                await exchange.undo(conn, meter_id, procedure_id, WHO, reason)
        return caught.value.code

    assert await refused(first.id, "why") == "not-the-last"
    assert await refused(second.id, "  ") == "no-reason"
    assert await refused(10**6, "why") == "no-procedure"
    async with web_db.transaction(staff(site)) as conn:
        await exchange.undo(conn, meter_id, second.id, WHO, "typed twice")
    assert await refused(second.id, "why") == "not-the-last"
    async with web_db.transaction(staff(site)) as conn:
        await exchange.undo(conn, meter_id, first.id, WHO, "typed at all")
        assert [(one.serial, one.valid_until, one.ends) for one in await history(conn, site)] == [("", None, {})]


async def test_a_removed_meter_is_closed_with_its_binding(web_db: Database, worker_db: Database, site: Site) -> None:
    meter_id = site.meters[0]
    # 01:00 of the next day in Shanghai.
    at = START + timedelta(hours=17)
    async with web_db.transaction(staff(site)) as conn:
        await exchange.exchange(conn, wish(site), WHO, NOW)
        with pytest.raises(InvalidInput, match="final reading"):
            await exchange.remove(conn, Removal(meter_id, at, None), WHO, NOW)
        removed = await exchange.remove(conn, Removal(meter_id, at, 220, note="torn down"), WHO, NOW)
        meter = await service.get_meter(conn, meter_id)
        binding = (await bindings.list_bindings(conn, PageRequest(), meter_id=meter_id)).items[0]
        register = (await history(conn, site))[-1]
    assert meter.removed_on == date(2026, 1, 2)
    assert (binding.valid_until, register.valid_until, register.ends) == (at, at, {1: (0, 220)})
    with pytest.raises(Conflict, match="taken out before"):
        async with web_db.transaction(staff(site)) as conn:
            await exchange.exchange(conn, wish(site, at=NOW), WHO, NOW)
    async with web_db.transaction(staff(site)) as conn:
        await exchange.undo(conn, meter_id, removed.id, WHO, "still there")
        meter = await service.get_meter(conn, meter_id)
        binding = (await bindings.list_bindings(conn, PageRequest(), meter_id=meter_id)).items[0]
        register = (await history(conn, site))[-1]
    assert (meter.removed_on, binding.valid_until, register.valid_until) == (None, None, None)
    assert register.ends == {1: (0, None)}


async def test_strangers_change_nothing(web_db: Database, site: Site) -> None:
    other = Asker(kind="staff", projects=(site.project_id + 1,), user_id=8)
    with pytest.raises(GatemeterError) as caught:
        async with web_db.transaction(other) as conn:
            await exchange.exchange(conn, wish(site), WHO, NOW)
    assert caught.value.code == "no-meter"


async def test_bindings_that_overlap_name_the_other(web_db: Database, site: Site) -> None:
    first = site.meters[0]
    for device, meter, field in ((site.spare, first, "meter_id"), (site.devices[0], site.meters[1], "device_id")):
        with pytest.raises(Conflict) as caught:
            async with web_db.transaction(staff(site)) as conn:
                await devices.bind(conn, device, meter, AT, AT + timedelta(hours=1))
        assert (caught.value.code, caught.value.field) == ("binding-overlap", field)
        assert f"gw-1/m1 carries meter {first} from 2025-01-01T00:00:00+00:00 on (binding" in caught.value.detail
    async with web_db.transaction(staff(site)) as conn:
        found = (await bindings.list_bindings(conn, PageRequest(), device_id=site.devices[0])).items
        ended = await bindings.end_binding(conn, found[0].id, AT)
        with pytest.raises(InvalidInput):
            await bindings.end_binding(conn, found[0].id, AT + timedelta(seconds=1))
        # From the end on both are free again.
        await devices.bind(conn, site.spare, first, AT)
    assert ended.valid_until == AT


async def test_masters_are_a_tree_of_one_medium(web_db: Database, worker_db: Database, site: Site) -> None:
    a, b, c = site.meters
    async with worker_db.transaction(SYSTEM) as conn:
        water = await service.create_meter(conn, site.project_id, "W", "water", None, 10**9, 10**6, date(2025, 1, 1))
        elsewhere = await estate.create_project(conn, "other", "Other", "Asia/Shanghai", "CNY")
        foreign = await service.create_meter(
            conn, elsewhere.id, "X", "electricity", None, 10**9, 10**6, date(2025, 1, 1)
        )

    async def put_under(meter_id: int, parent_id: int) -> None:
        async with web_db.transaction(staff(site)) as conn:
            data = assets.master_data(await service.get_meter(conn, meter_id))
            await assets.correct(conn, meter_id, replace(data, parent_id=parent_id))

    await put_under(b, a)
    await put_under(c, b)
    for meter_id, parent_id, code in ((a, c, "meter-circle"), (a, a, "meter-circle"), (a, water.id, "other-medium"),
                                      (a, foreign.id, "no-meter")):  # fmt: skip
        with pytest.raises(GatemeterError) as caught:
            await put_under(meter_id, parent_id)
        assert (caught.value.code, caught.value.field) == (
            code, "meter_id" if code == "no-meter" else "parent_id",
        )  # fmt: skip
    async with web_db.transaction(staff(site)) as conn:
        seen = [(depth, meter.id) for depth, meter in await assets.tree(conn, b)]
    assert seen == [(-1, a), (0, b), (1, c)]
    # The database itself refuses what goes past the service.
    for change in (f"parent_id = {c}", f"parent_id = {water.id}", "medium = 'heat'"):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            async with worker_db.transaction(SYSTEM) as conn:
                await conn.execute(f"UPDATE meter SET {change} WHERE id = {a}")


async def test_another_interval_makes_all_usage_look_again(web_db: Database, worker_db: Database, site: Site) -> None:
    async with web_db.transaction(staff(site)) as conn:
        data = assets.master_data(await service.get_meter(conn, site.meters[0]))
        await assets.correct(conn, site.meters[0], replace(data, place="shaft", meter_class="flat"))
    assert await dirty(worker_db) == []
    async with web_db.transaction(staff(site)) as conn:
        meter = await assets.correct(conn, site.meters[0], replace(data, interval_s=900))
    assert (meter.interval_s, meter.place) == (900, "")
    assert [row[0:2] for row in await dirty(worker_db)] == [(1, START), (3, START)]
    with pytest.raises(InvalidInput):
        async with web_db.transaction(staff(site)) as conn:
            await assets.correct(conn, site.meters[0], replace(data, interval_s=1000))


async def test_a_register_that_was_entered_wrongly_is_corrected(
    web_db: Database, worker_db: Database, site: Site
) -> None:
    meter_id = site.meters[0]
    async with web_db.transaction(staff(site)) as conn:
        await exchange.exchange(conn, wish(site, at=AT), WHO, NOW)
        old, new = await history(conn, site)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.dirty_window")
    async with web_db.transaction(staff(site)) as conn:
        await assets.correct_register(conn, meter_id, new.id, serial="N-3")
    assert await dirty(worker_db) == []
    async with web_db.transaction(staff(site)) as conn:
        corrected = await assets.correct_register(conn, meter_id, new.id, multiplier=Decimal(2), resolution=10)
        with pytest.raises(InvalidInput) as caught:
            await assets.correct_register(conn, meter_id, old.id, modulus=1_000)
    assert (corrected.serial, int(corrected.multiplier), corrected.resolution) == ("N-3", 2, 10)
    assert caught.value.field == "digits"
    assert [row[1] for row in await dirty(worker_db)] == [AT, AT]


async def test_seals_and_verifications(web_db: Database, site: Site) -> None:
    meter_id = site.meters[0]
    async with web_db.transaction(staff(site)) as conn:
        seal = await assets.apply_seal(conn, meter_id, "S-1", "terminal cover", START, "Li", NOW)
        removed = await assets.remove_seal(conn, meter_id, seal.id, AT, "Wu", "new terminal", NOW)
        await assets.apply_seal(conn, meter_id, "S-2", "", AT, "Wu", NOW)
        assert [one.number for one in await assets.seals_of(conn, meter_id)] == ["S-2", "S-1"]
        with pytest.raises(Conflict, match="taken off before"):
            await assets.remove_seal(conn, meter_id, seal.id, AT, "Wu", "again", NOW)
        with pytest.raises(InvalidInput):
            await assets.apply_seal(conn, meter_id, "S-3", "", NOW + timedelta(1), "Wu", NOW)
    assert (removed.removed_by, removed.removed_reason) == ("Wu", "new terminal")
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with web_db.transaction(staff(site)) as conn:
            await assets.apply_seal(conn, site.meters[1], "S-1", "", AT, "Wu", NOW)

    async def due_after(day: date, result: str, next_due: date | None) -> date | None:
        async with web_db.transaction(staff(site)) as conn:
            await assets.verify(conn, meter_id, day, result, next_due, "C", "", WHO, NOW)  # type: ignore[arg-type]
            return (await service.get_meter(conn, meter_id)).verification_due

    assert await due_after(date(2025, 6, 1), "passed", date(2031, 6, 1)) == date(2031, 6, 1)
    # An older certificate that is found later does not count.
    assert await due_after(date(2025, 3, 1), "passed", date(2031, 3, 1)) == date(2031, 6, 1)
    assert await due_after(date(2026, 1, 2), "failed", None) == date(2026, 1, 2)
    for day, result, next_due, field in (
        (date(2026, 1, 9), "passed", None, "verified_on"),
        (date(2025, 12, 1), "passed", date(2025, 12, 1), "next_due"),
        (date(2025, 12, 1), "failed", date(2026, 12, 1), "next_due"),
    ):
        with pytest.raises(InvalidInput) as caught:
            await due_after(day, result, next_due)
        assert caught.value.field == field


async def test_two_halves_of_a_circle_at_once(worker_db: Database, site: Site) -> None:
    a, b, _ = site.meters
    both = asyncio.Barrier(2)

    async def half(meter_id: int, parent_id: int) -> None:
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute("SELECT FROM meter")
            await both.wait()
            await conn.execute("UPDATE meter SET parent_id = %s WHERE id = %s", (parent_id, meter_id))

    ends = await asyncio.gather(half(a, b), half(b, a), return_exceptions=True)
    assert [type(end) for end in ends if end is not None] == [psycopg.errors.IntegrityConstraintViolation]
