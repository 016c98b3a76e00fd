"""Barriers and plate cameras over MQTT: dialects, lanes, and the line that connects them."""

from gateway.drivers.barrier.line import BarrierLine
from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings

__all__ = ["BarrierLine", "BarrierLineSettings", "LaneSettings"]
