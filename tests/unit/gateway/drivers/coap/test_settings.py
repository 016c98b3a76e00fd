"""Wrong settings say what was expected; tokens are complete or unusable."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.drivers.coap.settings import CoapClientLineSettings, CoapServerLineSettings
from gateway.drivers.coap.tokens import TokensUnusable, load_tokens

SERVER = {"name": "battery", "protocol": "coap-server", "host": "10.7.0.1", "devices": [{"id": "w-1", "template": "t"}]}
CLIENT = {
    "name": "mains",
    "protocol": "coap-client",
    "devices": [{"id": "e-1", "template": "t", "uri": "coap://10.7.0.9/m"}],
}


def test_good_ones_are_good() -> None:
    server = CoapServerLineSettings.model_validate(SERVER)
    assert (server.port, server.endpoint) == (5683, ("port", "udp 10.7.0.1:5683"))
    client = CoapClientLineSettings.model_validate(CLIENT)
    assert client.endpoint == ("name", "coap client mains")
    assert [(device.id, loc) for device, loc in client.all_devices()] == [("e-1", ("devices", 0))]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"host": None}, "valid string"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"devices": []}, "at least 1 item"),
        ({"devices": [{"id": "a b", "template": "t"}]}, "pattern"),
        ({"devices": [{"id": "a", "template": "t", "name": "x y"}]}, "pattern"),
        ({"devices": [{"id": "a", "template": "t", "uri": "coap://x/"}]}, "Extra inputs"),
        ({"devices": [{"id": x, "template": "t", "name": "n:"} for x in "ab"]}, "each name once, repeated: n:"),
        ({"history_after_s": 0}, "greater than 0"),
    ],
)
def test_wrong_server_settings(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        CoapServerLineSettings.model_validate(SERVER | change)


@pytest.mark.parametrize(
    "uri", ["http://x/", "coaps://x/", "coap:///m", "coap://x:0/", "coap://x:70000/", "coap://x/#f", "x"]
)
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(ValidationError, match="expected an address such as coap://"):
        CoapClientLineSettings.model_validate(CLIENT | {"devices": [{"id": "a", "template": "t", "uri": uri}]})


@pytest.mark.parametrize("uri", ["coap://meter.example/", "coap://[2001:db8::7]:5685/m/1?all", "coap://10.0.0.1"])
def test_good_addresses(uri: str) -> None:
    CoapClientLineSettings.model_validate(CLIENT | {"devices": [{"id": "a", "template": "t", "uri": uri}]})


def test_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# ours\n\nw-1 abcdefgh\n  w-2\t12345678  \n")
    assert load_tokens(file, ["w-1", "w-2"]) == {"w-1": "abcdefgh", "w-2": "12345678"}
    assert load_tokens(None, ["w-1"]) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("w-1 abcdefgh\n", "expected a token for w-2"),
        ("w-1 abcdefgh\nw-2 short\n", ":2: expected"),
        ("w-1 abcdefgh\nw-1 abcdefgh\n", ":2: expected"),
        ("w-3 abcdefgh\n", ":1: expected"),
        ("w-1\n", ":1: expected"),
        ("w-1 abcdefgh more\n", ":1: expected"),
        ("\udcff", "codec can't decode"),
    ],
)
def test_unusable_tokens(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(TokensUnusable, match=complaint):
        load_tokens(file, ["w-1", "w-2"])


def test_missing_tokens_file(tmp_path: Path) -> None:
    with pytest.raises(TokensUnusable, match="No such file"):
        load_tokens(tmp_path / "none", ["w-1"])
