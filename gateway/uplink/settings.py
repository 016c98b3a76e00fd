"""How a broker is reached: the address, who we are, how much may be under way."""

import os
import ssl
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.errors import GatewayError


class CredentialsMissing(GatewayError):
    """The configured environment variable or file with the password, a key or a certificate cannot be read."""


class MqttEndpoint(BaseModel):
    """Address and credentials of one MQTT broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    username: str | None = None
    password_env: str | None = None
    """Name of the environment variable that holds the password."""
    password_file: Path | None = None
    """File whose first line is the password."""
    tls: bool = False
    ca_file: Path | None = None
    """Certificate authority of the broker; the system's when absent."""
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3_600)] = 30

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("expected password_env or password_file, not both")
        if self.username is None and (self.password_env is not None or self.password_file is not None):
            raise ValueError("expected a username beside the password")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("expected cert_file and key_file together")
        if not self.tls and (self.ca_file is not None or self.cert_file is not None):
            raise ValueError("expected tls: true beside ca_file or cert_file")
        return self

    def password(self) -> str | None:
        """The password, read now. Raises CredentialsMissing."""
        if self.password_env is not None:
            try:
                return os.environ[self.password_env]
            except KeyError:
                raise CredentialsMissing(f"environment variable {self.password_env} is not set") from None
        if self.password_file is not None:
            try:
                return self.password_file.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
            except (OSError, UnicodeDecodeError) as error:
                raise CredentialsMissing(f"password file: {error}") from error
        return None

    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS context, or None without TLS. Raises CredentialsMissing."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise CredentialsMissing(f"TLS files: {error}") from error
        return context


class BrokerSettings(MqttEndpoint):
    """The broker between gateway and cloud, and how the uplink uses it."""

    window: Annotated[int, Field(ge=1, le=500)] = 32
    """Batches that may be on their way without the cloud's acknowledgement."""
    resend_after_s: Annotated[float, Field(gt=0, le=3_600)] = 15.0
    """First wait for an acknowledgement; doubles with every resend of the same batch, up to 16-fold."""
    drain_s: Annotated[float, Field(ge=0, le=300)] = 5.0
    """How long a clean shutdown waits for the last acknowledgements."""
