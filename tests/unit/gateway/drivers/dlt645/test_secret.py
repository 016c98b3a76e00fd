"""A meter's password is read from its place, anew every time, and shown nowhere."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.drivers.dlt645.frame import Password
from gateway.drivers.dlt645.secret import MeterPassword, PasswordMissing


def test_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    place = MeterPassword(env="METER_1")
    with pytest.raises(PasswordMissing, match="environment variable METER_1 is not set"):
        place.read()
    monkeypatch.setenv("METER_1", "02123456")
    assert place.read() == Password(2, "123456", "00000000")


def test_read_from_a_file_with_the_operator(tmp_path: Path) -> None:
    file = tmp_path / "password"
    place = MeterPassword(file=file)
    with pytest.raises(PasswordMissing, match="No such file"):
        place.read()
    file.write_text("04654321:0000002a\nanything\n", encoding="utf-8")
    assert place.read() == Password(4, "654321", "0000002a")


@pytest.mark.parametrize("text", ["", "123456", "0212345x", "02123456:2A"])
def test_what_is_none_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "password"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PasswordMissing, match="expected 8 digits") as caught:
        MeterPassword(file=file).read()
    assert not text or text not in str(caught.value)


def test_one_place() -> None:
    for wrong in ({}, {"env": "A", "file": Path("b")}):
        with pytest.raises(ValidationError, match="one of env and file"):
            MeterPassword.model_validate(wrong)
