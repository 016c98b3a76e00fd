"""What a payload is refused with."""

from gateway.errors import DeviceError


class BadPayload(DeviceError):
    """A payload that must not be used; says where it is wrong and what was expected there."""

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}")
        self.field = field
        self.expected = expected


class PayloadTooLarge(BadPayload):
    """More bytes or records than a pack may have."""
