"""Where the password of a meter's controls is kept: never in the site file, read anew for every order."""

import os
import re
from pathlib import Path
from typing import Self

from pydantic import model_validator

from gateway.drivers.dlt645.frame import Password
from gateway.errors import GatewayError
from gateway.templates.base import Strict

_FORM = re.compile(r"(?P<level>\d{2})(?P<secret>\d{6})(:(?P<operator>[0-9A-Fa-f]{8}))?")


class PasswordMissing(GatewayError):
    """The environment variable or file with a meter's password cannot be read, or holds something else."""


class MeterPassword(Strict):
    """Names the place of a meter's password: level and password, LLPPPPPP, and perhaps the operator's code behind it.

    `02123456` is password 123456 of level 2, `02123456:0000002A` with operator code 0000002A.
    """

    env: str | None = None
    """Environment variable that holds it."""
    file: Path | None = None
    """File whose first line it is."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("expected one of env and file")
        return self

    def read(self) -> Password:
        """The password as it is now. Raises PasswordMissing, whose text does not show it."""
        match = _FORM.fullmatch(self._text())
        if match is None:
            raise PasswordMissing(f"{self._place}: expected 8 digits, or 8 digits, ':' and 8 hexadecimal digits")
        return Password(int(match["level"]), match["secret"], match["operator"] or "00000000")

    @property
    def _place(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"

    def _text(self) -> str:
        try:
            if self.file is not None:
                return self.file.read_text(encoding="utf-8").split("\n", 1)[0].strip()
            return os.environ[self.env or ""]
        except KeyError:
            raise PasswordMissing(f"{self._place} is not set") from None
        except (OSError, UnicodeDecodeError) as error:
            raise PasswordMissing(f"{self._place}: {error}") from error
