"""Registers of price periods: what a map may say, and usage by registers against the sum of intervals by the hours."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud.kit.periods import Period, in_ms
from cloud.tariffs.drafts.form import document_of, field_name, read_fields, shape
from cloud.tariffs.drafts.form_actions import act
from cloud.tariffs.files.checking import check
from cloud.tariffs.model.hours import TimePeriods, runs
from cloud.tariffs.model.registers import PARTS, RegisterMap, by_period, spread, usual_map
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import explain, total
from cloud.tariffs.rating.plan import plan

CODES = ("sharp", "peak", "valley")
INSIDE = {"sharp": ["sharp"], "peak": ["peak", "-sharp"], "valley": ["valley"]}
"""The sharp hours are in the peak register too."""
DAYS = Period(date(2026, 3, 2), date(2026, 3, 4))
ZONE = ZoneInfo("Asia/Shanghai")


def _document(**periods: Any) -> dict[str, Any]:
    return {
        "currency": "CNY",
        "service": "electricity",
        "unit": "kWh",
        "tiers": {"bounds": [1, 3]},
        "periods": {"codes": [*CODES], "allocation": {"method": "proportional"}, **periods},
        "components": [
            {
                "kind": "energy",
                "code": "energy",
                "prices": {
                    "sharp": ["1.3066", "1.4", "1.5"],
                    "peak": ["1.0888", "1.19", "1.29"],
                    "valley": ["0.269", "0.33", "0.57"],
                },
            }
        ],
    }


def _content(**periods: Any) -> TariffContent:
    content, problems = check(_document(**periods))
    assert content is not None, problems
    return content


@given(st.dictionaries(st.sampled_from(CODES), st.integers(0, 10**9), min_size=1), st.integers(-5, 5))
def test_the_remainder_is_charged_in_the_first_of_the_largest_periods(used: dict[str, int], remainder: int) -> None:
    counted = sum(used.values()) + remainder
    largest = next(code for code in used if used[code] == max(used.values()))
    if used[largest] + remainder < 0:
        with pytest.raises(ValueError, match="less than nothing"):
            spread(used, counted)
        return
    found = spread(used, counted)
    assert dict(found.quantities) == used | {largest: used[largest] + remainder}
    assert [code for code, _ in found.quantities] == [*used]
    assert (found.remainder, found.remainder_in) == (remainder, largest if remainder else None)


_ALLOCATIONS: list[dict[str, Any]] = [
    {"method": "proportional"},
    {"method": "priority", "order": ["peak", "valley", "sharp"]},
]


@given(
    st.lists(st.sampled_from(CODES), min_size=24, max_size=24),
    st.lists(st.integers(0, 900), min_size=48, max_size=48),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from(_ALLOCATIONS),
)
def test_intervals_and_registers_of_the_same_usage_cost_the_same_to_the_cent(
    hours: Sequence[str], used: Sequence[int], multiplier: int, inside: bool, allocation: dict[str, Any]
) -> None:
    """A meter that switches its registers at the hours of the tariff, read at both ends, against its hourly usage."""
    told: dict[str, list[str]] = {code: [] for code in CODES}
    for hour, code in enumerate(hours):
        told[code].append(f"{hour:02d}:00-{hour + 1:02d}:00")
    content = _content(
        schedule=[{"hours": told}], allocation=allocation, **({"registers": {"periods": INSIDE}} if inside else {})
    )
    assert content.periods is not None
    by_intervals = _by_intervals(content.periods, [quantity * multiplier for quantity in used])
    counters = dict.fromkeys(CODES, 0)
    for hour, quantity in enumerate(used):
        counters[hours[hour % 24]] += quantity
    if inside:
        counters["peak"] += counters["sharp"]
    wanted = content.periods.register_map
    assert wanted is not None
    advances = {code: count * multiplier for code, count in counters.items()}
    by_registers = spread(by_period(wanted, advances), sum(used) * multiplier)
    assert by_registers.remainder == 0
    assert dict(by_registers.quantities) == by_intervals
    assert _lines(content, dict(by_registers.quantities)) == _lines(content, by_intervals)


def _by_intervals(periods: TimePeriods, hourly: Sequence[int]) -> dict[str, int]:
    """Hourly usage of two days by the runs that bills by intervals go by."""
    found = dict.fromkeys(periods.codes, 0)
    edges = [(in_ms(run.start), run.code) for run in runs(periods, None, {}, DAYS, ZONE)]
    first = in_ms(DAYS.instants(ZONE)[0])
    for hour, quantity in enumerate(hourly):
        at = first + hour * 3_600_000
        found[next(code for start, code in reversed(edges) if start <= at)] += quantity
    return found


def _lines(content: TariffContent, used: Mapping[str, int]) -> tuple[Any, ...]:
    rated = rate_batch(plan(content), Usages(quantity=[[used[code]] for code in content.period_codes]), 1)
    return explain(rated, 0), total(rated, 0)


@pytest.mark.parametrize(
    ("codes", "registers"),
    [
        (("sharp", "peak", "flat", "valley"), ("sharp", "peak", "flat", "valley")),
        (("peak", "valley"), ("peak", "valley")),
        (("peak", "shoulder", "deep-valley"), ("peak", "flat", "deep_valley")),
        (("t1", "t2", "t3", "t4", "t5"), PARTS),
    ],
)
def test_the_usual_codes_say_their_registers(codes: tuple[str, ...], registers: tuple[str, ...]) -> None:
    found = usual_map(codes)
    assert found is not None
    assert found.periods == {code: (name,) for code, name in zip(codes, registers, strict=True)}
    assert found.plain


@pytest.mark.parametrize("codes", [("day", "night"), ("peak", "day"), ("flat", "shoulder")])
def test_other_codes_say_none(codes: tuple[str, ...]) -> None:
    assert usual_map(codes) is None


def test_registers_inside_each_other_or_outside_the_total_are_not_plain() -> None:
    assert not RegisterMap.model_validate({"periods": INSIDE}).plain
    separate = {code: [code] for code in CODES}
    assert RegisterMap.model_validate({"periods": separate}).plain
    assert not RegisterMap.model_validate({"periods": separate, "beside_total": ["sharp"]}).plain
    rest = RegisterMap.model_validate({"periods": {"peak": ["peak"], "flat": ["total", "-peak"]}})
    assert (rest.names, rest.plain) == (("peak",), False)


@pytest.mark.parametrize(
    ("registers", "field", "words"),
    [
        ({"periods": {"sharp": ["sharp"], "peak": ["peak"]}}, "t.periods.registers.periods", "sharp, peak, valley"),
        ({"periods": {**INSIDE, "peak": []}}, "t.periods.registers.periods.1", "one or more registers"),
        ({"periods": {**INSIDE, "peak": ["peak", "peak"]}}, "t.periods.registers.periods.1", "each once"),
        ({"periods": {**INSIDE, "peak": ["t9"]}}, "t.periods.registers.periods.1", "not in the form"),
        ({"periods": {**INSIDE, "valley": ["peak"]}}, "t.periods.registers.periods", "counted once in all periods"),
        ({"periods": {**INSIDE, "peak": ["-peak"]}}, "t.periods.registers.periods", "counted once in all periods"),
        ({"periods": INSIDE, "beside_total": ["total"]}, "t.periods.registers.beside_total", "each once"),
    ],
)
def test_a_map_that_counts_wrongly_is_refused_at_its_field(registers: dict[str, Any], field: str, words: str) -> None:
    document = _document(registers=registers)
    content, (problem, *_) = check(document)
    assert content is None
    assert words in problem.sentence
    assert field_name(problem.place, document) == field
    assert problem.where(document).startswith("Periods of the day › Registers")
    assert problem.where(document).count("Periods") == 1
    if field.endswith(".1"):
        assert "period peak" in problem.where(document)


@pytest.mark.parametrize(
    ("periods", "name"),
    [
        ({"source": "intervals"}, "periods.source"),
        (
            {
                "source": "registers",
                "schedule": [{"hours": {"sharp": [], "peak": ["00:00-12:00"], "valley": ["12:00-24:00"]}}],
                "allocation": {"method": "chronological"},
            },
            "periods.allocation.method",
        ),
        ({"source": "guesses"}, "periods.source"),
    ],
)
def test_a_source_that_cannot_be_is_refused(periods: dict[str, Any], name: str) -> None:
    _, problems = check(_document(**periods))
    assert [problem.name for problem in problems] == [name]


def test_where_usage_comes_from_unless_it_is_said() -> None:
    hours = {"sharp": ["10:00-12:00"], "peak": ["12:00-24:00"], "valley": ["00:00-10:00"]}
    counted_by = [
        content.periods.counted_by
        for content in (
            _content(),
            _content(schedule=[{"hours": hours}]),
            _content(schedule=[{"hours": hours}], source="registers"),
        )
        if content.periods is not None
    ]
    assert counted_by == ["registers", "intervals", "registers"]


def test_the_form_says_registers_and_follows_its_buttons() -> None:
    document = _document(source="registers", registers={"periods": INSIDE, "beside_total": ["sharp"]})
    shaped = shape(document)
    assert shaped is not None
    assert shaped["periods"]["registers"] == {"periods": ["sharp", "peak, -sharp", "valley"], "beside_total": "sharp"}
    assert document_of(shaped)["periods"] == document["periods"]
    act(shaped, "remove-period:1")
    assert document_of(shaped)["periods"]["registers"]["periods"] == {"sharp": ["sharp"], "valley": ["valley"]}
    act(shaped, "add-period")
    assert shaped["periods"]["registers"]["periods"] == ["sharp", "valley", ""]


def test_empty_register_fields_say_nothing() -> None:
    fields = [("t.periods.codes.0", "peak"), ("t.periods.codes.1", "valley"), ("t.periods.source", "")]
    fields += [(f"t.periods.registers.periods.{n}", "") for n in range(2)]
    assert document_of(read_fields([*fields, ("t.periods.registers.beside_total", "")]))["periods"] == {
        "codes": ["peak", "valley"]
    }


def test_a_map_refuses_unknown_keys() -> None:
    with pytest.raises(ValidationError):
        RegisterMap.model_validate({"periods": INSIDE, "inside": {}})
