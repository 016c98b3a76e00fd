"""What a signature of the cloud covers: a message as it was sent, with the fields that its reader does not know.

Not the message as its reader would write it: a gateway that is older or newer than the cloud knows fewer or more
fields. The elements of the array are taken as they were sent, joined by commas, that of the signature as an empty
string. A first line tells the kind, so that no signature of one kind of message can be taken for that of another.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from gateway.contract.access import AccessUpdate
from gateway.contract.configuration import Configuration
from gateway.contract.messages import CloudTime, Command
from gateway.contract.topics import Down

Sign = Callable[[bytes], str]
"""The signature of some bytes, in base64."""
M = TypeVar("M", Command, Configuration, AccessUpdate, CloudTime)

_KINDS: Final = {
    Command: Down.COMMAND,
    Configuration: Down.CONFIG,
    AccessUpdate: Down.ACCESS,
    CloudTime: Down.TIME,
}
_PLACE: Final = {kind: message.__struct_fields__.index("signature") for message, kind in _KINDS.items()}
"""Where the signature stands: new fields come behind it."""
_encoder: Final = msgspec.json.Encoder()


class SignedText(NamedTuple):
    """A message of the cloud as it was sent; whether the cloud signed it is not known yet."""

    kind: Down
    text: bytes
    """JSON."""
    fields: tuple[msgspec.Raw, ...]
    """Its elements, as they were sent."""

    @property
    def covered(self) -> bytes:
        """The bytes that the signature covers."""
        place = _PLACE[self.kind]
        elements = [*self.fields[:place], b'""', *self.fields[place + 1 :]]
        return b"gatemeter-%s-v1\n[%s]" % (self.kind.encode(), b",".join(elements))


def covered(message: Command | Configuration | AccessUpdate | CloudTime) -> bytes:
    """The bytes that the signature of a message has to cover when it is sent."""
    bare = msgspec.structs.replace(message, signature="")
    return b"gatemeter-%s-v1\n%s" % (_KINDS[type(message)].encode(), _encoder.encode(bare))


def signed(message: M, sign: Sign) -> M:
    """The message with its signature."""
    return msgspec.structs.replace(message, signature=sign(covered(message)))
