"""Which filter covers which: the rule that the embedded broker's ACL rests on."""

import pytest

from simulators.broker.access import covers, gateway_client, ingest_client


@pytest.mark.parametrize(
    ("allowed", "asked", "expected"),
    [
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/gw-1/down/ack", True),
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/gw-1/down/+", True),
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/gw-1/down/#", False),
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/gw-1/down", False),
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/gw-1/down/ack/more", False),
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/+/down/+", False),
        ("gm/v1/demo/gw-1/down/+", "gm/v1/demo/gw-10/down/ack", False),
        ("gm/v1/demo/gw-1/down/+", "#", False),
        ("barriers/#", "barriers/sn-1/down/open", True),
        ("barriers/#", "barriers", True),
        ("barriers/#", "#", False),
        ("#", "gm/v1/+", True),
    ],
)
def test_a_filter_covers_what_it_matches_and_nothing_else(allowed: str, asked: str, expected: bool) -> None:
    assert covers(allowed, asked) is expected


def test_a_gateway_writes_up_and_reads_down_in_its_own_subtree() -> None:
    client = gateway_client("demo", "gw-1", "secret", ["barriers"])
    assert client.username == "demo.gw-1"
    assert set(client.write) == {
        *(
            f"gm/v1/demo/gw-1/up/{kind}"
            for kind in ("readings", "passages", "results", "health", "gaps", "configurations")
        ),
        "barriers/#",
    }
    assert client.read == ("gm/v1/demo/gw-1/down/+", "barriers/#")


def test_ingest_cannot_pretend_to_be_a_gateway() -> None:
    client = ingest_client("secret")
    assert not any(covers(one, "gm/v1/demo/gw-1/up/readings") for one in client.write)
    assert any(covers(one, "gm/v1/demo/gw-1/up/readings") for one in client.read)
