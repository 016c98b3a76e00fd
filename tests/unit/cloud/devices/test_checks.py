"""What the cloud sees wrong with a configuration before it sends it: all of it, located, within the limits."""

import secrets

import pytest
import yaml

from cloud.devices.checks import check_configuration
from cloud.kit.errors import InvalidInput
from gateway.contract import limits
from gateway.templates.library import firmware_config

DEMO = yaml.safe_load((firmware_config() / "sites" / "demo.yaml").read_text("utf-8"))
GOOD = yaml.safe_dump({key: DEMO[key] for key in ("periods", "lines", "barriers")})


def refusal(site: str, **templates: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_configuration(site, templates)
    assert caught.value.code == "bad-configuration"
    return str(caught.value)


def test_the_demonstration_and_the_templates_that_come_along_are_good() -> None:
    text = (firmware_config() / "meters" / "gatemeter-demo-water.yaml").read_text("utf-8")
    check_configuration(GOOD, {"own-water": text})
    check_configuration("{}", {})


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("broker: {host: evil}", "site.yaml:1: Additional properties are not allowed ('broker' was unexpected)"),
        ("periods:\n  billing_s: fast\n", "site.yaml:2: periods.billing_s: 'fast' is not of type 'number'"),
        ("lines:\n- {name: a, protocol: modbus-tcp}\n", "site.yaml:2: lines[0]: 'host' is a required property"),
        ("lines:\n- {name: a, protocol: morse, host: h}\n", "site.yaml:2: lines[0].protocol: one of "),
        ("lines: [", "site.yaml:2: valid YAML"),
        ("a: &a {}\nb: *a\n", "site.yaml:2: no references"),
    ],
)
def test_problems_have_their_place(site: str, expected: str) -> None:
    assert refusal(site).startswith(expected)


def test_every_problem_is_told_that_of_templates_too() -> None:
    told = refusal("time_zone: 5\nlines: 7\n", bad="vendor: X\n").splitlines()
    assert told[0].startswith("site.yaml:1: time_zone")
    assert told[1].startswith("site.yaml:2: lines")
    assert any(line.startswith("templates/bad.yaml:1: 'model' is a required") for line in told)


def test_what_fits_no_message_is_refused() -> None:
    noise = "".join(f"# {secrets.token_hex(60)}\n" for _ in range(1_600))
    assert refusal(GOOD + noise, **{f"t{n}": _template(noise[:90_000]) for n in range(8)}).startswith("too large")


def test_what_breaks_the_contract_is_refused_before_it_is_read() -> None:
    """The command line hands files over as they are; a gateway that cannot decode them would be sent them for ever."""
    assert refusal("x" * (limits.MAX_SITE_CHARS + 1)).startswith("no gateway takes it")
    assert refusal("{}", **{"not a code": "vendor: X\n"}).startswith("no gateway takes it")
    assert refusal("").startswith("no gateway takes it")


def _template(noise: str) -> str:
    return (firmware_config() / "meters" / "gatemeter-demo-water.yaml").read_text("utf-8") + noise
