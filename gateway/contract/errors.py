"""The one error of the contract: a short reason code that machines compare and a detail that people read."""

from typing import Literal

Reason = Literal[
    "bad-topic",
    "empty",
    "too-large",
    "bad-encoding",
    "bad-json",
    "too-deep",
    "bad-schema",
    "unknown-version",
    "out-of-limits",
]


class ContractError(ValueError):
    """A message that must not be accepted. `reason` goes back to the sender in the rejected ack."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail
