"""The MQTT session with the cloud: batches up, acknowledgements and signed commands down."""

from gateway.uplink.commands import CommandHandler, CommandOutcome
from gateway.uplink.reconnect import Backoff
from gateway.uplink.settings import BrokerSettings, CredentialsMissing, MqttEndpoint
from gateway.uplink.uplink import LinkState, Uplink

__all__ = [
    "Backoff",
    "BrokerSettings",
    "CommandHandler",
    "CommandOutcome",
    "CredentialsMissing",
    "LinkState",
    "MqttEndpoint",
    "Uplink",
]
