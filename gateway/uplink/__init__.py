"""The MQTT session with the cloud: batches up, acknowledgements and signed commands down."""

from gateway.uplink.commands import CommandHandler
from gateway.uplink.reconnect import Backoff
from gateway.uplink.settings import BrokerSettings, CredentialsMissing, MqttEndpoint
from gateway.uplink.uplink import LinkState, Uplink

__all__ = [
    "Backoff",
    "BrokerSettings",
    "CommandHandler",
    "CredentialsMissing",
    "LinkState",
    "MqttEndpoint",
    "Uplink",
]
