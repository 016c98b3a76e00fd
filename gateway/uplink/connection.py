"""One fresh MQTT client per session: the library must never resend on its own what the outbox resends."""

import aiomqtt

from gateway.uplink.settings import MqttEndpoint


def new_client(endpoint: MqttEndpoint, identifier: str, inflight: int = 20) -> aiomqtt.Client:
    """A client that was never connected, with a clean session. Raises CredentialsMissing.

    `identifier` is stable: the broker closes the session of a predecessor that it has not yet missed.
    """
    client = aiomqtt.Client(
        endpoint.host,
        endpoint.port,
        username=endpoint.username,
        password=endpoint.password(),
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        keepalive=endpoint.keepalive_s,
        tls_context=endpoint.tls_context(),
        max_inflight_messages=inflight,
    )
    client.pending_calls_threshold = inflight + 1
    return client
