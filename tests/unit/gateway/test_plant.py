"""What changes between two sites: only what differs, by value, and everything that a line takes from elsewhere."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.plant import Recipe, compare, patience_s, recipes
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from tests.templates import LIBRARY


def line(name: str, port: int, **more: Any) -> dict[str, Any]:
    device = {"id": f"{name}-1", "template": "gatemeter-demo-electricity", "unit_id": 1}
    return {"name": name, "protocol": "modbus-tcp", "host": "h", "port": port, "devices": [device]} | more


def site(*lines: dict[str, Any], **more: Any) -> SiteSettings:
    return SiteSettings.model_validate(
        {"project": "demo", "gateway": "gw-1", "state_directory": "s", "broker": {"host": "b"}, "lines": list(lines)}
        | more
    )


def changes(old: SiteSettings, new: SiteSettings) -> dict[str, tuple[str, ...]]:
    found = compare(recipes(old, LIBRARY), recipes(new, LIBRARY))
    return {name: names for name in ("kept", "ended", "replaced", "started") if (names := getattr(found, name))}


def test_a_line_that_waits_long_for_answers_is_waited_for_at_its_end() -> None:
    wanted = recipes(site(line("quick", 1), line("slow", 2, timeout_s=30)), LIBRARY)
    assert patience_s(wanted["line quick"]) == 15
    assert patience_s(wanted["line slow"]) == 35


def test_only_what_differs_changes() -> None:
    old = site(line("a", 1), line("b", 2), line("c", 3))
    new = site(line("d", 4), line("c", 3), line("b", 9))
    assert changes(old, new) == {
        "kept": ("line c",), "ended": ("line a",), "replaced": ("line b",), "started": ("line d",),
    }  # fmt: skip
    assert changes(old, old) == {"kept": ("line a", "line b", "line c")}


def test_a_period_of_the_site_changes_the_lines_that_use_it() -> None:
    own = {"periods": {"billing_s": 5, "instant_s": 5}, "id": "b-1", "template": "gatemeter-demo-water", "unit_id": 1}
    lines = (line("a", 1), line("b", 2, devices=[own]))
    found = changes(site(*lines), site(*lines, periods={"billing_s": 900, "instant_s": 15}))
    assert found == {"kept": ("line b",), "replaced": ("line a",)}


def test_rules_of_reporting_change_every_line() -> None:
    rules = {"heartbeat_s": 60}
    assert changes(site(line("a", 1)), site(line("a", 1), report=rules)) == {"replaced": ("line a",)}


def test_the_time_zone_changes_every_line() -> None:
    assert changes(site(line("a", 1)), site(line("a", 1), time_zone="Europe/Berlin")) == {"replaced": ("line a",)}


def test_a_line_and_barriers_may_have_the_same_name() -> None:
    lane = {"device": "lane", "sn": "S", "direction": "entry"}
    barriers = [{"name": "a", "lot": "l", "broker": {"host": "b"}, "lanes": [lane]}]
    assert set(recipes(site(line("a", 1), barriers=barriers), LIBRARY)) == {"line a", "barriers a"}


def test_a_changed_template_changes_the_lines_with_such_meters(tmp_path: Path) -> None:
    for name in ("gatemeter-demo-electricity", "gatemeter-demo-water"):
        text = (LIBRARY.directory / f"{name}.yaml").read_text("utf-8")
        (tmp_path / f"{name}.yaml").write_text(text.replace("pause_ms: 0", ""), "utf-8")
    water = {"id": "w", "template": "gatemeter-demo-water", "unit_id": 1}
    wanted = site(line("a", 1), line("b", 2, devices=[water]))
    before = recipes(wanted, Library(tmp_path))
    assert not compare(before, recipes(wanted, Library(tmp_path)))
    file = tmp_path / "gatemeter-demo-water.yaml"
    file.write_text(file.read_text("utf-8").replace("vendor: ", "vendor: Not "), "utf-8")
    assert compare(before, recipes(wanted, Library(tmp_path))).replaced == ("line b",)


RECIPES = st.dictionaries(
    st.sampled_from("abcdef"), st.sampled_from([Recipe(site(line("a", n)).lines[0]) for n in (1, 2, 3)])
)


@given(RECIPES, RECIPES)
def test_every_part_has_one_fate_and_the_fates_lead_to_the_new_set(
    old: dict[str, Recipe], new: dict[str, Recipe]
) -> None:
    found = compare(old, new)
    assert sorted((*found.kept, *found.ended, *found.replaced)) == sorted(old)
    assert sorted((*found.kept, *found.replaced, *found.started)) == sorted(new)
    assert all(old[name] == new[name] for name in found.kept)
    assert all(old[name] != new[name] for name in found.replaced)
    assert bool(found) == (old != new)
