"""What is given up, in which order, and that every loss is told."""

import itertools
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import codec
from gateway.contract.messages import Gap, GapReason, Passage, Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox, Shed
from gateway.outbox.losses import Loss, Tally
from gateway.outbox.shedding import DIAGNOSTIC_CHANNELS, THIN_WIDTHS_MS, Pressure, Thinning
from tests.unit.gateway.outbox.bodies import START, body, gaps, points, queued_points, total

MINUTE = 60_000


def values(count: int, channel: str, start: int = START, device: str = "m-1") -> bytes:
    """A body that does not compress well: as many bytes for every batch."""
    chance = random.Random(start + count)
    return codec.encode_body([Point(device, channel, start + MINUTE * n, chance.getrandbits(60)) for n in range(count)])


def passage(number: int) -> bytes:
    made = Passage(
        f"00000000-0000-4000-8000-{number:012}", "lane-1", "京A12345", START + number, "passed", "entry",  # type: ignore[arg-type]
        image="x" * 400,
    )  # fmt: skip
    return codec.encode_body([made])


def test_registers_are_no_diagnostics() -> None:
    assert {"voltage_l1", "valve_state", "power_active_total"} <= DIAGNOSTIC_CHANNELS
    assert not {"energy_import_total", "volume_total", "operating_time", "not-in-the-table"} & DIAGNOSTIC_CHANNELS


def test_pressure_has_hysteresis_and_a_disk_that_refuses_counts_for_a_while() -> None:
    pressure = Pressure(1_000)
    seen = []
    for used in (700, 800, 801, 750, 701, 699, 750):
        pressure.see(used, 0.0)
        seen.append(pressure.shedding)
    assert seen == [False, False, True, True, True, False, False]
    pressure.see(901, 0.0)
    assert pressure.thinning
    pressure.see(100, 0.0)
    pressure.disk_refused(5.0)
    pressure.see(100, 14.9)
    assert pressure.shedding
    pressure.see(100, 15.1)
    assert not pressure.shedding


instants = st.integers(START, START + 10 * THIN_WIDTHS_MS[-1])
some_points = st.lists(st.builds(Point, st.sampled_from("ab"), st.sampled_from("xyz"), instants, st.integers(0, 9)))


@given(some_points, st.integers(1, 7))
def test_thinning_keeps_one_value_of_each_step_in_whatever_portions(given_points: list[Point], portion: int) -> None:
    ordered = sorted(given_points, key=lambda point: point.taken_at)
    whole = Thinning().thin(ordered)
    walk = Thinning()
    pieces = [kept for at in range(0, len(ordered), portion) for kept in walk.thin(ordered[at : at + portion])]
    assert pieces == whole
    steps = [(one.device, one.channel, one.taken_at // THIN_WIDTHS_MS[0]) for one in whole]
    assert len(steps) == len(set(steps))
    assert set(steps) == {(one.device, one.channel, one.taken_at // THIN_WIDTHS_MS[0]) for one in ordered}


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), instants), min_size=1))
def test_a_tally_counts_every_point_and_spans_them(lost: list[tuple[str, str, int]]) -> None:
    tally, joined = Tally(), Tally()
    for device, channel, at in lost:
        one = Tally()
        one.add_points(Shed.BILLING, [Point(device, channel, at, 1)], GapReason.OUTBOX_FULL)
        joined.join(one)
    tally.add_points(Shed.BILLING, [Point(d, c, at, 1) for d, c, at in lost], GapReason.OUTBOX_FULL)
    assert joined.gaps == tally.gaps
    assert joined.losses == tally.losses
    assert sum(count for _, _, count in tally.gaps.values()) == len(lost)
    times = [at for _, _, at in lost]
    assert tally.losses[Shed.BILLING] == Loss(0, len(lost), 0, min(times), max(times))


def test_a_tally_is_bounded_and_still_counts_everything() -> None:
    tally = Tally()
    lost = [Point(f"m-{n}", "energy_import_total", START + n, 1) for n in range(12_000)]
    tally.add_points(Shed.BILLING, lost, GapReason.OUTBOX_FULL)
    assert len(tally.gaps) == 10_001
    assert tally.gaps["readings", "", "", "outbox-full"] == (START + 10_000, START + 11_999, 2_000)


async def test_diagnostics_go_before_registers_and_these_before_passages(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 24_000)
    for n in range(3):
        await outbox.put(Up.READINGS, values(200, "voltage_l1", START + n), shed=Shed.DIAGNOSTICS)
    registers = [await outbox.put(Up.READINGS, values(200, "energy_import_total", START + n)) for n in range(15)]
    stats = await outbox.stats()
    assert Shed.DIAGNOSTICS not in stats.queued
    assert stats.dropped[Shed.DIAGNOSTICS].items == 600
    assert 0 < stats.dropped[Shed.BILLING].batches < 15
    kept = [row.seq for row in await outbox.waiting(0, 99, (Up.READINGS,))]
    assert kept == registers[-len(kept) :]
    # Gaps of what was lost go out as soon as there is room: one for the diagnostics of the device, one for a register.
    outbox.accept(registers)
    await outbox.put(Up.READINGS, body(1))
    told = await gaps(outbox)
    assert {(one.device, one.channel, one.reason) for one in told} == {
        ("m-1", "", GapReason.THINNED), ("m-1", "", GapReason.OUTBOX_FULL),
        ("m-1", "energy_import_total", GapReason.OUTBOX_FULL),
    }  # fmt: skip
    assert total(told) == sum(loss.items for loss in (await outbox.stats()).dropped.values())
    outbox.close()


async def test_passages_are_the_last_to_go_and_the_oldest_first(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 8_000)
    first = [await outbox.put(Up.PASSAGES, passage(n)) for n in range(20)]
    register = await outbox.put(Up.READINGS, body(150))
    later = [await outbox.put(Up.PASSAGES, passage(n)) for n in range(20, 50)]
    kept = [row.seq for row in await outbox.waiting(0, 99)]
    assert register not in kept
    assert kept == [*first, *later][-len(kept) :]
    assert (await outbox.stats()).dropped[Shed.PASSAGES].items == 50 - len(kept)
    outbox.accept(kept)
    await outbox.put(Up.READINGS, body(1))
    passages = [one for one in await gaps(outbox) if one.kind is Up.PASSAGES]
    assert passages == [
        Gap("lane-1", "", START, START + 49 - len(kept), 50 - len(kept), GapReason.OUTBOX_FULL, Up.PASSAGES)
    ]
    outbox.close()


async def test_stored_diagnostics_are_thinned_before_any_register_goes(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 200_000)
    recorded = 0
    for n in range(60):
        await outbox.put(Up.READINGS, values(200, "voltage_l1", START + n * 200 * MINUTE), shed=Shed.DIAGNOSTICS)
        recorded += 200
    stats = await outbox.stats()
    assert stats.shedding
    assert Shed.BILLING not in stats.dropped
    kept = await queued_points(outbox)
    lost = stats.dropped[Shed.DIAGNOSTICS]
    assert len(kept) + lost.items == recorded
    # Thinned, not only dropped at the old end: of old times there are values, further apart.
    oldest = sorted(point.taken_at for point in kept)[:10]
    assert all(later - earlier >= THIN_WIDTHS_MS[0] - MINUTE for earlier, later in itertools.pairwise(oldest))
    outbox.close()


async def test_points_that_are_not_recorded_are_counted_once_and_told(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 1 << 20)
    outbox.lose(points(30, "voltage_l1"))
    outbox.lose(points(20, "flow", device="m-2"))
    await outbox.put(Up.READINGS, body(1))
    await outbox.put(Up.READINGS, body(1))
    told = {one.device: one for one in await gaps(outbox)}
    assert told["m-1"] == Gap("m-1", "", START, START + 29 * MINUTE, 30, GapReason.OUTBOX_FULL)
    assert told["m-2"].count == 20
    assert (await outbox.stats()).dropped[Shed.DIAGNOSTICS] == Loss(0, 50, 0, START, START + 29 * MINUTE)
    outbox.close()


async def test_many_gaps_go_out_in_batches_and_none_is_told_twice(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 1 << 24)
    outbox.lose([Point(f"m-{n}", "flow", START + n, 1) for n in range(1_200)])
    for _ in range(5):
        await outbox.put(Up.READINGS, body(1))
    told = await gaps(outbox)
    assert len(await outbox.waiting(0, 99, (Up.GAPS,))) == 3
    assert sorted(one.device for one in told) == sorted(f"m-{n}" for n in range(1_200))
    outbox.close()


async def test_gaps_wait_for_the_next_run_when_there_was_no_room(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, 20_000)
    seqs = [await outbox.put(Up.READINGS, values(200, "energy_import_total", START + n)) for n in range(20)]
    assert await gaps(outbox) == []
    outbox.close()
    again = Outbox.open(path, 20_000)
    again.accept(seqs)
    await again.put(Up.READINGS, body(1))
    assert total(await gaps(again)) == (await again.stats()).dropped[Shed.BILLING].items > 0
    again.close()
