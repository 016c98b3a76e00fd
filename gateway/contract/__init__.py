"""What crosses the wire between gateway and cloud; the only part of the gateway that the cloud imports."""

__version__ = "0.1.0"

WIRE_VERSION = 1
"""Schema version written into every message. A newer one is rejected with a reason, never guessed."""
