"""The rule of device clocks, and the memory of what was recorded."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.limits import MIN_TIME_MS
from gateway.contract.messages import Point, Quality
from gateway.drivers.coap.history import MAX_AHEAD_MS, Dated, Memory, dated
from gateway.drivers.coap.readings import Sample

ARRIVAL = 1_800_000_000_000
HISTORY = 300_000
GOOD, RESTORED, ESTIMATED = 0, int(Quality.RESTORED), int(Quality.ESTIMATED_CLOCK)


def of(*times: int, channel: str = "volume_total") -> list[Sample]:
    return [Sample(channel, at, True, number) for number, at in enumerate(times)]


def judged(samples: list[Sample], unsure: bool = False) -> Dated:
    return dated("w-1", samples, ARRIVAL, HISTORY, unsure)


def seen(pack: Dated) -> list[tuple[int, int, int]]:
    return [(point.value, point.taken_at, point.quality) for point in pack.points]


def test_sane_times_are_kept_and_old_ones_are_restored() -> None:
    pack = judged(of(ARRIVAL - HISTORY - 1, ARRIVAL - HISTORY, ARRIVAL, ARRIVAL + MAX_AHEAD_MS, MIN_TIME_MS))
    assert seen(pack) == [
        (0, ARRIVAL - HISTORY - 1, RESTORED),
        (1, ARRIVAL - HISTORY, GOOD),
        (2, ARRIVAL, GOOD),
        (3, ARRIVAL + MAX_AHEAD_MS, GOOD),
        (4, MIN_TIME_MS, RESTORED),
    ]
    assert pack.refused == 0


def test_of_absurd_times_the_newest_takes_the_arrival_time() -> None:
    past = judged(of(1_000, 3_000, 2_000))
    assert (seen(past), past.refused) == ([(1, ARRIVAL, ESTIMATED)], 2)
    ahead = judged(of(ARRIVAL + MAX_AHEAD_MS + 1, 10**15))
    assert (seen(ahead), ahead.refused) == ([(1, ARRIVAL, ESTIMATED)], 1)
    tied = judged(of(7, 7))
    assert (seen(tied), tied.refused) == ([(1, ARRIVAL, ESTIMATED)], 1)


def test_beside_sane_times_absurd_ones_are_refused() -> None:
    pack = judged(of(5, ARRIVAL - 1_000, 10**15))
    assert (seen(pack), pack.refused) == ([(1, ARRIVAL - 1_000, GOOD)], 2)


def test_each_channel_is_judged_for_itself() -> None:
    pack = judged([*of(5, 6), *of(ARRIVAL, 7, channel="flow")])
    assert [(point.channel, *row) for point, row in zip(pack.points, seen(pack), strict=True)] == [
        ("volume_total", 1, ARRIVAL, ESTIMATED),
        ("flow", 0, ARRIVAL, GOOD),
    ]
    assert pack.refused == 2


def test_an_unsure_gateway_flags_what_rests_on_its_own_clock() -> None:
    relative = Sample("flow", ARRIVAL - HISTORY - 5, False, 1, int(Quality.OUT_OF_RANGE))
    (own, devices) = judged([relative, *of(ARRIVAL)], unsure=True).points
    assert own.quality == RESTORED | ESTIMATED | int(Quality.OUT_OF_RANGE)
    assert devices.quality == GOOD


@given(
    st.lists(st.builds(Sample, st.sampled_from(("a", "b")), st.integers(-(10**16), 10**16), st.booleans(), st.just(1)))
)
def test_every_sample_is_a_point_or_counted_and_no_point_has_an_absurd_time(samples: list[Sample]) -> None:
    pack = judged(samples)
    assert len(pack.points) + pack.refused == len(samples)
    assert all(MIN_TIME_MS <= point.taken_at <= ARRIVAL + MAX_AHEAD_MS for point in pack.points)
    assert {point.channel for point in pack.points} == {sample.channel for sample in samples}


def point(at: int, value: int = 1, device: str = "w-1", channel: str = "flow") -> Point:
    return Point(device, channel, at, value)


def test_what_is_recorded_is_known() -> None:
    memory = Memory()
    points = [point(1), point(2), point(1, device="w-2"), point(1, channel="volume_total")]
    assert memory.unknown(points) == points
    assert memory.unknown(points) == points  # not recorded yet
    memory.remember(points)
    assert memory.unknown([*points, point(3)]) == [point(3)]


def test_one_pack_says_a_thing_once() -> None:
    assert Memory().unknown([point(1), point(2), point(1)]) == [point(1), point(2)]


def test_another_value_at_the_same_time_goes_on() -> None:
    memory = Memory()
    memory.remember([point(1, 10)])
    assert memory.unknown([point(1, 11), point(1, 10)]) == [point(1, 11)]
    assert memory.unknown([point(2, 1), point(2, 3)]) == [point(2, 1), point(2, 3)]


def test_memory_is_bounded_and_forgets_the_longest_known() -> None:
    memory = Memory(capacity=3)
    memory.remember([point(at) for at in range(5)])
    assert memory.unknown([point(at) for at in range(5)]) == [point(0), point(1)]
    memory.remember([point(2), point(9)])
    assert memory.unknown([point(2), point(3), point(4), point(9)]) == [point(3)]
