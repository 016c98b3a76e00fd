"""The durable store-and-forward queue between drivers and uplink: what is in here survives a `kill -9`."""

from gateway.outbox.losses import Loss
from gateway.outbox.outbox import Outbox
from gateway.outbox.schema import OutboxError
from gateway.outbox.shedding import Shed
from gateway.outbox.store import OutboxDamaged, OutboxFull, OutboxStats, Row

__all__ = ["Loss", "Outbox", "OutboxDamaged", "OutboxError", "OutboxFull", "OutboxStats", "Row", "Shed"]
