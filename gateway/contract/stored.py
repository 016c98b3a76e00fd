"""The body of a batch as an outbox keeps it: compressed once, and framed for the wire without compressing it again.

A packed body is: 0x01, the length of its JSON and the Adler-32 of it (4 bytes each, big-endian), then raw deflate
blocks that end on a byte and are not marked as the last (RFC 1951, a sync flush). `frame` puts stored blocks before
and behind them, which makes one ordinary zlib stream (RFC 1950). JSON of ours starts with `[`, so that the first
byte tells both apart.
"""

import struct
import zlib
from typing import Final

from gateway.contract import limits
from gateway.contract.errors import ContractError

_MARK: Final = 0x01
_HEAD: Final = struct.Struct(">BII")
_LEVEL: Final = 1
"""A sixth more bytes than the default level for a third of its time."""
_ZLIB_HEAD: Final = b"\x78\x01"
_ADLER_BASE: Final = 65_521


def pack(body: bytes) -> bytes:
    """What to keep of a JSON body; a small one stays as it is."""
    if len(body) <= limits.COMPRESS_ABOVE_BYTES:
        return body
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    blocks = deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return _HEAD.pack(_MARK, len(body), zlib.adler32(body)) + blocks


def is_packed(kept: bytes) -> bool:
    """Whether `kept` is packed; otherwise it is JSON."""
    return kept[:1] == b"\x01"


def length(packed: bytes) -> int:
    """Bytes of the JSON in a packed body."""
    return int(_HEAD.unpack_from(packed)[1])


def unpack(kept: bytes) -> bytes:
    """The JSON body again. Raises ContractError (`bad-encoding`, `too-large`) when the bytes are damaged."""
    if not is_packed(kept):
        return kept
    if len(kept) < _HEAD.size:
        raise ContractError("bad-encoding", "packed body is cut off")
    _, size, check = _HEAD.unpack_from(kept)
    if size > limits.MAX_DECODED_BYTES:
        raise ContractError("too-large", f"{size} bytes of JSON, at most {limits.MAX_DECODED_BYTES}")
    try:
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(kept[_HEAD.size :], size + 1)
    except zlib.error as error:
        raise ContractError("bad-encoding", str(error)) from error
    if len(body) != size or zlib.adler32(body) != check:
        raise ContractError("bad-encoding", "packed body is damaged")
    return body


def frame(before: bytes, packed: bytes, after: bytes) -> bytes:
    """The zlib stream of `before`, the packed JSON, `after`; each of the two at most 65,535 bytes."""
    _, size, check = _HEAD.unpack_from(packed)
    checksum = zlib.adler32(after, _joined(zlib.adler32(before), check, size))
    return b"".join(
        (
            _ZLIB_HEAD,
            _stored_block(before, last=False),
            memoryview(packed)[_HEAD.size :],
            _stored_block(after, last=True),
            checksum.to_bytes(4, "big"),
        )
    )


def _stored_block(text: bytes, *, last: bool) -> bytes:
    return struct.pack("<BHH", int(last), len(text), len(text) ^ 0xFFFF) + text


def _joined(first: int, second: int, second_length: int) -> int:
    """Adler-32 of two texts one after the other. Its low half is 1 + the sum of the bytes, the high half the sum of
    those sums: the second text adds to every one of its `second_length` sums what the first had come to.
    """
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + second_length * ((first & 0xFFFF) - 1)
    return (high % _ADLER_BASE) << 16 | low % _ADLER_BASE
