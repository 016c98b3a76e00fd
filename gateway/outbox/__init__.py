"""The durable store-and-forward queue between drivers and uplink: what is in here survives a `kill -9`."""

from gateway.outbox.outbox import Outbox
from gateway.outbox.store import Loss, OutboxError, OutboxFull, OutboxStats, Row

__all__ = ["Loss", "Outbox", "OutboxError", "OutboxFull", "OutboxStats", "Row"]
