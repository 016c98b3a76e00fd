"""What the cloud's processes are told, by environment variables with the prefix GATEMETER_."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "GATEMETER_"

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

    worker_concurrency: Annotated[int, Field(ge=1, le=64)] = 2

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.broker_password is not None and self.broker_password_file is not None:
            raise ValueError(f"expected {PREFIX}BROKER_PASSWORD or {PREFIX}BROKER_PASSWORD_FILE, not both")
        return self

    def dsn(self) -> str:
        """The connection string in clear."""
        return self.database_dsn.get_secret_value()

    def broker_secret(self) -> str | None:
        """The broker's password in clear. Raises SettingsError when its file cannot be read."""
        if self.broker_password_file is not None:
            try:
                return self.broker_password_file.read_text("utf-8").strip()
            except OSError as error:
                name = f"{PREFIX}BROKER_PASSWORD_FILE"
                raise SettingsError(f"{name}: expected a readable file ({error.strerror})") from error
        return None if self.broker_password is None else self.broker_password.get_secret_value()


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
