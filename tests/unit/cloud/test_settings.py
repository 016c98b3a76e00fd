"""Settings: every wrong variable is named with the expectation."""

from pathlib import Path

import pytest

from cloud.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("GATEMETER_"):
            monkeypatch.delenv(name)


def test_missing_variables_are_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "GATEMETER_DATABASE_DSN is not set: expected a PostgreSQL connection string" in str(caught.value)
    assert "GATEMETER_KEYS_FILE is not set" in str(caught.value)


def test_wrong_values_are_named_and_secrets_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEMETER_DATABASE_DSN", "host=db password=geheim")
    monkeypatch.setenv("GATEMETER_KEYS_FILE", "keys.json")
    monkeypatch.setenv("GATEMETER_BROKER_PORT", "70000")
    monkeypatch.setenv("GATEMETER_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert "GATEMETER_BROKER_PORT: Input should be less than or equal to 65535" in text
    assert "GATEMETER_LOG_LEVEL" in text
    assert "geheim" not in text


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(database_dsn="password=geheim", keys_file=Path("k"), broker_password="geheim")
    assert "geheim" not in repr(settings)
    assert (settings.dsn(), settings.broker_secret()) == ("password=geheim", "geheim")


def test_the_brokers_password_may_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("geheim\n")
    given: dict[str, object] = {"database_dsn": "x", "keys_file": Path("k"), "broker_password_file": path}
    assert load_settings(**given).broker_secret() == "geheim"
    with pytest.raises(SettingsError, match="BROKER_PASSWORD_FILE, not both"):
        load_settings(**given, broker_password="x")
    path.unlink()
    with pytest.raises(SettingsError, match="GATEMETER_BROKER_PASSWORD_FILE: expected a readable file"):
        load_settings(**given).broker_secret()


def _mail(**given: object) -> dict[str, object]:
    return {
        "database_dsn": "x",
        "keys_file": Path("k"),
        "smtp_host": "mail.example.com",
        "mail_from": "a@b.cn",
        **given,
    }


def test_mail_is_off_until_it_is_set_up() -> None:
    assert not load_settings(database_dsn="x", keys_file=Path("k")).mail_is_set_up
    settings = load_settings(**_mail(smtp_username="gm", smtp_password="geheim"))
    assert (settings.mail_is_set_up, settings.smtp_secret()) == (True, "geheim")
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"mail_from": None}, "GATEMETER_MAIL_FROM is not set"),
        ({"smtp_username": "gm"}, "GATEMETER_SMTP_USERNAME and its password"),
        ({"smtp_password": "geheim"}, "GATEMETER_SMTP_USERNAME and its password"),
        ({"smtp_username": "gm", "smtp_password": "geheim", "smtp_password_file": Path("p")}, "not both"),
        ({"smtp_username": "gm", "smtp_password": "geheim", "smtp_tls": "off"}, "in clear"),
    ],
)
def test_half_set_up_mail_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        load_settings(**_mail(**wrong))
    assert "geheim" not in str(caught.value)
