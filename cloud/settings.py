"""What the cloud's processes are told, by environment variables with the prefix GATEMETER_."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "GATEMETER_"

_OWN_MACHINE = ("localhost", "127.0.0.1", "::1")

Port = Annotated[int, Field(ge=1, le=65_535)]


class SettingsError(RuntimeError):
    """A setting is missing or wrong; the message names the variable and the expectation."""


class CloudSettings(BaseSettings):
    """Settings of ingest, worker and web. Read with `load_settings`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    database_dsn: Annotated[SecretStr, Field(description="a PostgreSQL connection string")]
    database_pool: Annotated[int, Field(ge=2, le=100)] = 8
    keys_file: Annotated[Path, Field(description="the path of the file that `gatemeter keys create` made")]

    broker_host: str = "127.0.0.1"
    broker_port: Port = 1883
    broker_username: str | None = None
    broker_password: SecretStr | None = None
    broker_password_file: Path | None = None
    broker_tls: bool = False

    web_host: str = "127.0.0.1"
    web_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    public_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    """Where browsers reach the service, without a path."""
    secure_cookies: bool = True
    """Cookies only over TLS. Switch off for plain HTTP on a machine of your own."""
    session_hours: Annotated[int, Field(ge=1, le=720)] = 12
    metrics: Literal["off", "local", "open"] = "local"
    """Who may read /metrics: nobody, this machine, everybody who reaches the port."""
    docs: bool = True
    """Whether /api/v1/openapi.json is served."""

    payments_file: Annotated[Path, Field(description="a YAML file that names providers of payments and their keys")] | (
        None
    ) = None
    """Without one nobody pays online."""
    webhooks_private: bool = False
    """Whether webhooks may use plain http and addresses of one's own network."""

    smtp_host: str | None = None
    """The server that takes e-mail; None: mail is not set up."""
    smtp_port: Port = 587
    smtp_tls: Literal["starttls", "tls", "off"] = "starttls"
    smtp_ca_file: Path | None = None
    """Certificates to trust instead of the system's, for a server of one's own."""
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_password_file: Path | None = None
    smtp_timeout_s: Annotated[int, Field(ge=1, le=600)] = 60
    mail_from: str | None = None
    """The address that e-mail comes from."""

    worker_concurrency: Annotated[int, Field(ge=1, le=64)] = 2

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.broker_password is not None and self.broker_password_file is not None:
            raise ValueError(f"expected {PREFIX}BROKER_PASSWORD or {PREFIX}BROKER_PASSWORD_FILE, not both")
        return self

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        if self.smtp_password is not None and self.smtp_password_file is not None:
            raise ValueError(f"expected {PREFIX}SMTP_PASSWORD or {PREFIX}SMTP_PASSWORD_FILE, not both")
        if self.smtp_host is not None and self.mail_from is None:
            raise ValueError(f"{PREFIX}MAIL_FROM is not set: expected the address that e-mail comes from")
        secret = self.smtp_password is not None or self.smtp_password_file is not None
        if secret != (self.smtp_username is not None):
            raise ValueError(f"expected {PREFIX}SMTP_USERNAME and its password, or neither")
        if secret and self.smtp_tls == "off" and self.smtp_host not in _OWN_MACHINE:
            raise ValueError(f"{PREFIX}SMTP_TLS=off would send the password in clear: expected starttls or tls")
        return self

    @property
    def mail_is_set_up(self) -> bool:
        """Whether e-mail can be sent."""
        return self.smtp_host is not None

    def smtp_secret(self) -> str | None:
        """The mail server's password in clear. Raises SettingsError when its file cannot be read."""
        return _secret(self.smtp_password, self.smtp_password_file, "SMTP_PASSWORD_FILE")

    def dsn(self) -> str:
        """The connection string in clear."""
        return self.database_dsn.get_secret_value()

    def broker_secret(self) -> str | None:
        """The broker's password in clear. Raises SettingsError when its file cannot be read."""
        return _secret(self.broker_password, self.broker_password_file, "BROKER_PASSWORD_FILE")


def _secret(given: SecretStr | None, file: Path | None, variable: str) -> str | None:
    """A secret that was given, or lies in a file. Raises SettingsError when the file cannot be read."""
    if file is not None:
        try:
            return file.read_text("utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{PREFIX}{variable}: expected a readable file ({error.strerror})") from error
    return None if given is None else given.get_secret_value()


def load_settings(**given: object) -> CloudSettings:
    """Settings from the environment; `given` ones win. Raises SettingsError, one line for each wrong variable."""
    try:
        return CloudSettings(**given)  # type: ignore[arg-type]  # checked by pydantic itself
    except ValidationError as error:
        lines = [_line(found["loc"], found["type"], found["msg"]) for found in error.errors(include_input=False)]
        raise SettingsError("\n".join(lines)) from None


def _line(location: tuple[str | int, ...], kind: str, message: str) -> str:
    if not location:
        return message.removeprefix("Value error, ")
    name = str(location[0])
    variable = PREFIX + name.upper()
    described = CloudSettings.model_fields[name].description if name in CloudSettings.model_fields else None
    if kind == "missing":
        return f"{variable} is not set: expected {described or 'a value'}"
    return f"{variable}: {message}"
