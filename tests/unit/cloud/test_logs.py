"""Logs carry no secrets."""

import json
import logging

import pytest
import structlog

from cloud.logs import configure_logging, without_secrets
from tests.plain_logs import log_plainly


def test_values_with_secret_names_and_passwords_in_texts_are_blackened() -> None:
    event = without_secrets(
        None,
        "info",
        {
            "event": "connect host=db password=geheim user=x",
            "token": "geheim",
            "url": "amqp://user:geheim@host",
            "phone_count": 3,
        },
    )
    assert "geheim" not in str(event)
    assert event["phone_count"] == 3


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_show_no_local_values(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    try:
        configure_logging("info", "json" if form == "json" else "console")
        hidden = "geheim"
        try:
            raise ZeroDivisionError(len(hidden))
        except ZeroDivisionError:
            structlog.get_logger("test").exception("it.crashed", password=hidden)
        text = capfd.readouterr().err
    finally:
        logging.getLogger().handlers[:] = before
        log_plainly()
    assert "ZeroDivisionError" in text
    assert 'hidden = "geheim"' in text or "geheim" not in text
    assert "***" in text
    if form == "json":
        assert json.loads(text)["event"] == "it.crashed"
