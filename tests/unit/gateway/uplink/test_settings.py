"""Broker settings: wrong combinations are refused, secrets are read when they are needed."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.uplink import BrokerSettings, CredentialsMissing


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "host"),
        ({"host": ""}, "host"),
        ({"host": "b", "port": 0}, "port"),
        ({"host": "b", "widow": 3}, "widow"),
        ({"host": "b", "window": 0}, "window"),
        ({"host": "b", "username": "u", "password_env": "A", "password_file": "b"}, "not both"),
        ({"host": "b", "password_env": "A"}, "username beside"),
        ({"host": "b", "tls": True, "cert_file": "c"}, "together"),
        ({"host": "b", "ca_file": "c"}, "tls: true"),
    ],
)
def test_wrong_settings_say_what_was_expected(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        BrokerSettings.model_validate(settings)


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret 密\r\nsecond line\n", encoding="utf-8")
    assert BrokerSettings(host="b", username="u", password_file=path).password() == "s3cret 密"
    assert BrokerSettings(host="b", username="u").password() is None


def test_a_missing_secret_names_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GM_TEST_PASSWORD", raising=False)
    settings = BrokerSettings(host="b", username="u", password_env="GM_TEST_PASSWORD")
    with pytest.raises(CredentialsMissing, match="GM_TEST_PASSWORD is not set"):
        settings.password()
    monkeypatch.setenv("GM_TEST_PASSWORD", "x")
    assert settings.password() == "x"
    with pytest.raises(CredentialsMissing, match="password file"):
        BrokerSettings(host="b", username="u", password_file=tmp_path / "none").password()


def test_tls_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert BrokerSettings(host="b").tls_context() is None
    assert BrokerSettings(host="b", tls=True).tls_context() is not None
    with pytest.raises(CredentialsMissing, match="TLS files"):
        BrokerSettings(host="b", tls=True, ca_file=tmp_path / "none.pem").tls_context()
