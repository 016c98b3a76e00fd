"""Messages of a cloud that is newer or older than the gateway, for tests of what the gateway does with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.contract import codec
from gateway.contract.access import AccessUpdate
from gateway.contract.configuration import Configuration
from gateway.contract.messages import Command
from gateway.contract.signing import Sign

_ENCODE: dict[Any, tuple[bytes, Callable[[Any], bytes]]] = {
    Command: (b"command", codec.encode_command),
    Configuration: (b"config", codec.encode_configuration),
    AccessUpdate: (b"access", codec.encode_access),
}


def other_words(
    message: Any, sign: Sign, *, more: Sequence[object] = (), changed: Mapping[str, object] | None = None
) -> bytes:
    """A message as another version of the cloud sends it, signed: `more` fields at the end, some of its `changed`."""
    kind, encode = _ENCODE[type(message)]
    fields = [bytes(field) for field in msgspec.json.decode(codec.plain(encode(message)), type=list[msgspec.Raw])]
    names = message.__struct_fields__
    for name, value in (changed or {}).items():
        fields[names.index(name)] = msgspec.json.encode(value)
    fields += [msgspec.json.encode(value) for value in more]
    place = names.index("signature")
    fields[place] = b'""'
    fields[place] = msgspec.json.encode(sign(b"gatemeter-%s-v1\n[%s]" % (kind, b",".join(fields))))
    return b"[%s]" % b",".join(fields)
