"""The planned estate: whole, reproducible, and named as the site file names its devices."""

from datetime import date
from pathlib import Path

import pytest

from gateway.settings import load_site
from simulators.demo.plan import make_plan, months_before
from simulators.demo.site import write_site

SINCE = date(2025, 10, 1)


def test_a_full_estate_has_120_flats_with_two_meters_each() -> None:
    plan = make_plan(1, SINCE, 10)
    assert len(plan.flats) == 120
    assert len({device for device, _ in plan.devices()}) == 240
    assert any(flat.tenant is not None for flat in plan.flats)
    assert any(flat.persons >= 6 for flat in plan.flats)
    assert any(flat.vehicle is not None for flat in plan.flats)


def test_the_same_seed_gives_the_same_estate_and_another_seed_another() -> None:
    assert make_plan(1, SINCE, 2) == make_plan(1, SINCE, 2)
    assert make_plan(1, SINCE, 2) != make_plan(2, SINCE, 2)


@pytest.mark.parametrize("floors", [1, 3, 10])
def test_every_planned_device_is_on_a_line_of_the_site_and_no_other(tmp_path: Path, floors: int) -> None:
    path = tmp_path / "site.yaml"
    write_site(
        path,
        floors=floors,
        state_directory=tmp_path,
        broker_port=1883,
        health_port=0,
        line_ports=range(2000, 2006),
        cloud_keys={},
    )
    site = load_site(path)
    on_lines = {device.id for line in site.lines for device, _ in line.all_devices()}
    assert on_lines == {device for device, _ in make_plan(1, SINCE, floors).devices()}
    assert {line.endpoint[1] for line in site.lines} == {f"127.0.0.1:{port}" for port in range(2000, 2006)}


@pytest.mark.parametrize("floors", [0, 11])
def test_an_impossible_size_is_refused(floors: int) -> None:
    with pytest.raises(ValueError, match="floors"):
        make_plan(1, SINCE, floors)


def test_id_numbers_carry_their_check_digit() -> None:
    weights = [2 ** (17 - place) % 11 for place in range(17)]
    for flat in make_plan(1, SINCE, 10).flats:
        number = flat.owner.id_number
        total = sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))
        check = 10 if number[-1] == "X" else int(number[-1])
        assert (total + check) % 11 == 1


@pytest.mark.parametrize(
    ("day", "count", "expected"),
    [
        (date(2026, 11, 24), 13, date(2025, 10, 1)),
        (date(2026, 1, 31), 1, date(2025, 12, 1)),
        (date(2026, 12, 1), 12, date(2025, 12, 1)),
        (date(2026, 5, 5), 0, date(2026, 5, 1)),
    ],
)
def test_months_before(day: date, count: int, expected: date) -> None:
    assert months_before(day, count) == expected
