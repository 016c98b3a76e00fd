"""An MQTT broker for the demo and for tests: a process of its own, a password and an ACL per client."""

from simulators.broker.access import BrokerClient, barrier_client, display_client, gateway_client, ingest_client
from simulators.broker.process import BrokerProcess

__all__ = ["BrokerClient", "BrokerProcess", "barrier_client", "display_client", "gateway_client", "ingest_client"]
