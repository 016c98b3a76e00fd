"""How an ingest worker reaches its broker and how much it takes at once."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cloud.settings import PREFIX, CloudSettings, SettingsError
from gateway.contract import topics


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False

    @classmethod
    def of(cls, settings: CloudSettings) -> Self:
        """From the cloud's settings. Raises SettingsError."""
        return cls(
            settings.broker_host,
            settings.broker_port,
            settings.broker_username,
            settings.broker_secret(),
            settings.broker_tls,
        )

    def tls_context(self) -> ssl.SSLContext | None:
        """The platform's certificates; None for a plain connection."""
        return ssl.create_default_context() if self.tls else None


class IngestSettings(BaseSettings):
    """Settings of an ingest worker, GATEMETER_INGEST_…."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}INGEST_", extra="ignore", frozen=True)

    subscription_prefix: Annotated[str, Field(pattern=r"^(\$share/[^/+#]+/)?$")] = ""
    """`$share/ingest/` divides the messages between workers on brokers that have shared subscriptions."""
    group_messages: Annotated[int, Field(ge=1, le=1000)] = 300
    """At most so many messages in one transaction."""
    linger_ms: Annotated[int, Field(ge=0, le=1000)] = 10
    """How long to wait for more messages before a smaller group is stored. Vehicles at exits wait for none, and where
    they come and go the rest waits for 40 ms at least."""
    waiting_messages: Annotated[int, Field(ge=10, le=100_000)] = 2_000
    """More messages than this are not queued: their gateways send them again."""
    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Prometheus metrics on 127.0.0.1."""
    ready_file: Path | None = None
    """Written when the broker has granted the subscription, for whoever starts this process."""

    @property
    def subscription(self) -> str:
        """Topic filter of everything that gateways send."""
        return self.subscription_prefix + topics.all_up()


def load_ingest_settings(**given: object) -> IngestSettings:
    """Settings from the environment; `given` ones win. Raises SettingsError."""
    try:
        return IngestSettings(**given)  # type: ignore[arg-type]  # checked by pydantic itself
    except ValidationError as error:
        lines = [f"{PREFIX}INGEST_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise SettingsError("\n".join(lines)) from None
