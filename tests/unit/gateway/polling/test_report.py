"""Report by exception: what is not told is known all the same, within the dead band and the heartbeat."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.messages import Quality
from gateway.drivers.base import Reading
from gateway.lines import report_rules
from gateway.polling.report import DEFAULT_HEARTBEAT_S, Reporter, rules_of
from gateway.templates.report import ReportSettings, band_of

VOLTAGE, ENERGY, VALVE = "voltage_l1", "energy_import_total", "valve_state"
START = 1_790_000_000_000


def reporter(bands: dict[str, str], heartbeat_s: float = 900) -> Reporter:
    return Reporter(rules_of([ReportSettings(heartbeat_s=heartbeat_s, dead_bands=bands)]))


def told(by: Reporter, at_ms: int, values: dict[str, int], everything: bool = False) -> list[str]:
    """Channels that are told of `values` at `at_ms`, all of good quality."""
    readings = [Reading(channel, value, 0) for channel, value in values.items()]
    return [one.channel for one in by.choose(readings, 0, START + at_ms, everything)]


bands = st.one_of(
    st.builds("{} V".format, st.decimals(0, 20, places=3)), st.builds("{} %".format, st.decimals(0, 50, places=2))
)


@given(
    bands,
    st.integers(1, 3_600),
    st.lists(st.tuples(st.integers(1, 60_000), st.integers(-300_000, 300_000)), min_size=1, max_size=60),
)
def test_what_is_told_stands_for_what_is_not(band: str, heartbeat_s: int, visits: list[tuple[int, int]]) -> None:
    """Holding each told value until the next: never further away than the band, never older than the heartbeat."""
    by, width = reporter({VOLTAGE: band}, heartbeat_s), band_of(VOLTAGE, band)
    now, held, since = 0, None, 0
    for period, value in visits:
        now += period
        if told(by, now, {VOLTAGE: value}):
            held, since = value, now
        assert held is not None, "the first value is told"
        bound = width[0] * abs(held) if width[1] else width[0]
        assert Fraction(abs(value - held)) <= bound
        assert now - since < heartbeat_s * 1_000


def test_what_was_told_at_a_time_that_is_given_up_is_told_again() -> None:
    by = reporter({VOLTAGE: "5 V"})
    assert told(by, 10**12, {VOLTAGE: 230_000})
    assert told(by, 0, {VOLTAGE: 230_000})
    assert not told(by, 1_000, {VOLTAGE: 230_000})


@given(st.lists(st.integers(0, 3), min_size=2, max_size=50))
def test_billing_registers_are_always_told_and_states_on_change(states: list[int]) -> None:
    by, before = reporter({}), None
    for number, state in enumerate(states):
        channels = told(by, number * 1_000, {ENERGY: 7, VALVE: state})
        assert channels == ([ENERGY] if state == before else [ENERGY, VALVE])
        before = state


def test_a_value_leaves_its_band_only_beyond_it() -> None:
    by = reporter({VOLTAGE: "1.5 V"})
    assert told(by, 0, {VOLTAGE: 230_000})
    assert not told(by, 1, {VOLTAGE: 231_500})
    assert not told(by, 2, {VOLTAGE: 228_500})
    assert told(by, 3, {VOLTAGE: 231_501})
    by = reporter({VOLTAGE: "1 %"})
    assert told(by, 0, {VOLTAGE: -10_000})
    assert not told(by, 1, {VOLTAGE: -10_100})
    assert told(by, 2, {VOLTAGE: -10_101})


def test_the_heartbeat_counts_from_the_value_told_last() -> None:
    by = reporter({VOLTAGE: "5 V"}, heartbeat_s=60)
    assert [second for second in range(0, 200, 15) if told(by, second * 1_000, {VOLTAGE: 230_000})] == [
        0, 60, 120, 180,
    ]  # fmt: skip


def test_quality_is_news_and_so_is_a_clock_that_is_not_sure() -> None:
    by = reporter({VOLTAGE: "5 V"})
    good, doubtful = Reading(VOLTAGE, 230_000, 0), Reading(VOLTAGE, 230_000, Quality.OUT_OF_RANGE)
    estimated = Quality.ESTIMATED_CLOCK
    given_flags = [(good, 0), (good, 0), (doubtful, 0), (doubtful, 0), (good, 0), (good, estimated), (good, estimated)]
    chosen = [bool(by.choose([one], flags, START)) for one, flags in given_flags]
    assert chosen == [True, False, True, False, True, True, False]


def test_on_demand_everything_is_told_and_remembered() -> None:
    by = reporter({VOLTAGE: "5 V"}, heartbeat_s=60)
    assert told(by, 0, {VOLTAGE: 230_000})
    assert told(by, 30_000, {VOLTAGE: 234_000}, everything=True)
    assert not told(by, 61_000, {VOLTAGE: 230_000})


def test_what_is_said_of_a_device_goes_before_the_site_and_the_site_before_the_template() -> None:
    template = ReportSettings(dead_bands={VOLTAGE: "1 V", "frequency": "1 %", "current_l1": "10 mA"})
    site = ReportSettings(heartbeat_s=600, dead_bands={VOLTAGE: "2 V", "frequency": "0.1 Hz"})
    device = ReportSettings(dead_bands={VOLTAGE: "3 V"})
    rules = report_rules(device, site, template)
    assert rules is not None
    assert rules.heartbeat_ms == 600_000
    assert [rules.bands[channel][:1] for channel in (VOLTAGE, "frequency", "current_l1")] == [(3_000,), (100,), (10,)]
    assert ENERGY not in rules.bands
    assert report_rules(None, None, template) is None
    by_device = report_rules(device, None, None)
    assert by_device is not None
    assert by_device.heartbeat_ms == DEFAULT_HEARTBEAT_S * 1_000
