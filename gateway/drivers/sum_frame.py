"""Frames from 68 to 16 with a length and a sum of all bytes: what DL/T 645 and CJ/T 188 have in common; pure.

What arrives before an answer may be preamble (FE), noise of the line driver, a converter's echo of the request or the
late answer of somebody else. So frames are looked for at every 68; those that are whole but answer something else are
passed over, and only a frame of the right station about the right data is ever taken. A frame whose sum is wrong is
searched for another one inside, since its length cannot be trusted either.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from gateway.errors import MalformedReply

T = TypeVar("T", bound=Hashable)

START, END = 0x68, 0x16
PREAMBLE = b"\xfe\xfe\xfe\xfe"
"""Wakes the meter's receiver; not part of the frame."""
_MOST_BYTES = 2_048
"""More than any answer with all that may precede it: a station that babbles on."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the length is and what the bytes before it must look like."""

    head: int
    """Bytes from the start up to and with the length byte."""
    may_begin: Callable[[bytes], bool]
    """Whether these bytes, at most `head` of them and the first is 68, may begin a frame."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a piece of received bytes."""

    frames: tuple[bytes, ...]
    """Whole frames with the right sum, in order."""
    complaint: str
    """What was wrong with the last broken one; empty when there was none."""
    unfinished: bool
    """Whether the last bytes may still become a frame."""


def closed(body: bytes) -> bytes:
    """`body`, from 68 to the last byte of data, with its sum and the end."""
    return body + bytes([sum(body) & 0xFF, END])


def find(received: bytes, shape: Shape) -> Found:
    """All frames in `received`."""
    frames: list[bytes] = []
    complaint = ""
    at = received.find(START)
    while at >= 0:
        head = received[at : at + shape.head]
        if not shape.may_begin(head):
            at = received.find(START, at + 1)
            continue
        if len(head) < shape.head or len(received) < at + shape.head + head[-1] + 2:
            return Found(tuple(frames), complaint, unfinished=True)
        frame = received[at : at + shape.head + head[-1] + 2]
        wrong = _wrong(frame)
        if wrong:
            complaint = wrong
        else:
            frames.append(frame)
        at = received.find(START, at + 1 if wrong else at + len(frame))
    return Found(tuple(frames), complaint, unfinished=False)


def only(received: bytes, shape: Shape) -> bytes:
    """The one frame in `received`, behind any preamble. Raises MalformedReply when it is not exactly that."""
    bare = received.lstrip(PREAMBLE)
    found = find(bare, shape)
    if found.frames != (bare,):
        raise MalformedReply(found.complaint or "no whole frame")
    return bare


def matches(asked: str, address: str) -> bool:
    """Whether a meter with `address` is meant by `asked`, in which A stands for any digit."""
    return all(one in ("A", other) for one, other in zip(asked, address, strict=True))


def judge(received: bytes, shape: Shape, ours: Callable[[bytes], T | None]) -> T | None:
    """The answer among the frames in `received`, None while it may still come.

    `ours` gives what a frame says, or None when it answers something else, and may raise for a frame that refuses.
    Raises MalformedReply for a broken frame, and when more arrives than any answer is long.
    """
    found = find(received, shape)
    for frame in found.frames:
        answer = ours(frame)
        if answer is not None:
            return answer
    if len(received) > _MOST_BYTES:
        raise MalformedReply(f"{len(received)} bytes without an answer")
    if found.complaint and not found.unfinished:
        raise MalformedReply(found.complaint)
    return None


def _wrong(frame: bytes) -> str:
    if frame[-1] != END:
        return f"end {frame[-1]:02X}, expected 16"
    total = sum(frame[:-2]) & 0xFF
    return "" if frame[-2] == total else f"sum {frame[-2]:02X}, expected {total:02X}"
