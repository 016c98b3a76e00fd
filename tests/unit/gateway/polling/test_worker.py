"""What the worker of a line makes of visits: points with the right flags, exceptions only, days begun, time awaited."""

from gateway.contract.messages import Action, Point, Quality
from gateway.drivers.base import Group
from gateway.polling.clock import Clock
from gateway.polling.report import rules_of
from tests.unit.gateway.polling.line import QuietLine, QuietMeter, Told, command, running, until
from tests.unit.gateway.polling.test_clock import Times
from tests.unit.gateway.polling.test_orders import noon


def flows(points: list[Point]) -> list[Point]:
    return [point for point in points if point.channel == "flow"]


def passed(times: Times) -> bool:
    """A millisecond goes by while a test waits."""
    times.pass_ms(1)
    return True


async def test_without_rules_everything_is_told() -> None:
    line, told = QuietLine(), Told(period_ms=5)
    async with running(told.worker(line, [QuietMeter("w-1", line)])):
        await until(lambda: len(told.points) >= 10)
    assert len(flows(told.points)) == len(told.points) / 2


async def test_by_exception_only_news_and_billing_registers_are_told() -> None:
    line, told = QuietLine(), Told(period_ms=5, rules=rules_of([None]))
    meter = QuietMeter("w-1", line)
    worker = told.worker(line, [meter])
    async with running(worker):
        await until(lambda: len(told.points) >= 10)
        assert len(flows(told.points)) == 1
        await worker.perform(command("w-1", Action.READ_NOW), noon)
        assert len(flows(told.points)) == 2
        meter.silent = True
        await until(lambda: worker.stats.devices[0].timeouts)
        meter.silent = False
        await until(lambda: len(flows(told.points)) == 3)
    assert worker.stats.devices[0].points == len(told.points)


async def test_who_answers_only_a_part_is_kept_and_counts_as_failing() -> None:
    line, told = QuietLine(), Told(period_ms=5)
    meter = QuietMeter("w-1", line)
    worker = told.worker(line, [meter])
    async with running(worker):
        await until(lambda: told.points)
        meter.partly = True
        await until(lambda: worker._schedule.failures(0) >= 2)
        known = len(told.points)
        await until(lambda: len(told.points) > known)
        meter.partly = False
        await until(lambda: not worker._schedule.failures(0))
    assert worker.stats.devices[0].failures_in_a_row == 0


async def test_an_order_that_gets_a_connection_wakes_the_polls() -> None:
    line, told = QuietLine(), Told(period_ms=5)
    line.reachable = False
    worker = told.worker(line, [QuietMeter("w-1", line)])
    async with running(worker):
        await until(lambda: worker.stats.connect_failures)
        worker._reconnect_s = 3_600
        await until(lambda: worker.stats.connect_failures > 1)
        line.reachable = True
        await worker.perform(command("w-1", Action.READ_NOW), noon)
        await until(lambda: len(told.points) > 4)


async def test_a_day_begins_with_the_billing_registers() -> None:
    clock = Clock()
    midnight = clock.now_ms() + 30
    told = Told(clock=clock, next_midnight=lambda now: midnight if now < midnight else midnight + 86_400_000)
    line = QuietLine()
    meters = [QuietMeter(f"w-{number}", line) for number in range(5)]
    async with running(told.worker(line, meters)):
        await until(lambda: len(told.points) >= 5)
    assert [meter.asked_for for meter in meters] == [[frozenset({Group.BILLING})]] * 5
    assert all(midnight <= point.taken_at for point in told.points)


async def test_a_gateway_that_never_knew_the_time_waits_for_it() -> None:
    times = Times()
    right, times.wall = times.wall, 0
    line, told = QuietLine(), Told(period_ms=1, clock=Clock(lambda: times.wall, lambda: times.monotonic))
    worker = told.worker(line, [QuietMeter("w-1", line)])
    async with running(worker):
        await worker.perform(command("w-1", Action.READ_NOW), noon)
        assert [point.quality for point in told.points] == [Quality.ESTIMATED_CLOCK] * 2
        assert len(line.asked) == 1
        times.wall = right
        await until(lambda: passed(times) and len(line.asked) > 3)
    assert {point.quality for point in told.points[2:]} == {0}


async def test_points_say_when_the_wall_clock_lies_behind() -> None:
    times = Times()
    line, told = QuietLine(), Told(period_ms=1, clock=Clock(lambda: times.wall, lambda: times.monotonic))
    async with running(told.worker(line, [QuietMeter("w-1", line)])):
        await until(lambda: passed(times) and told.points)
        assert {point.quality for point in told.points} == {0}
        times.wall -= 3_600_000_000_000
        known = len(told.points)
        await until(lambda: passed(times) and len(told.points) > known)
    assert {point.quality for point in told.points[known:]} == {Quality.ESTIMATED_CLOCK}
    ordered = [point.taken_at for point in flows(told.points)]
    assert ordered == sorted(ordered)
