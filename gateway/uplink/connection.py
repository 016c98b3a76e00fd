"""One fresh MQTT client per session: the library must never resend on its own what the outbox resends."""

import socket

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
        # An acknowledgement and a publish in two small writes would wait 40 ms for each other otherwise.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    client.pending_calls_threshold = inflight + 1
    return client
