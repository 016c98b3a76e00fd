"""JPEG pictures of flat 8 × 8 squares: the one kind that needs no cosine transform, only the mean of each square. Pure.

ITU-T T.81, baseline: of every block the DC coefficient alone is coded, as its difference from the block before.
"""

from collections.abc import Sequence
from typing import Final

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255 each."""

SQUARE: Final = 8
"""Width of one square in pixels."""

# A DC coefficient is 8 times the mean: divided by 8 it is a brightness, exactly.
_QUANTA: Final = bytes([0]) + bytes([8] * 64)
# Lengths 1, 4 and 5 for differences of 0, 1-4 and 5-8 bits; no code is all ones.
_DC_CODES: Final = ("0", "1000", "1001", "1010", "1011", "11000", "11001", "11010", "11011")
_DC_LENGTHS: Final = bytes([1, 0, 0, 4, 4, *[0] * 11])
_DC_TABLE: Final = bytes([0x00]) + _DC_LENGTHS + bytes(range(9))
# The only symbol of the others: nothing more follows in this block.
_AC_TABLE: Final = bytes([0x10]) + bytes([1, *[0] * 15]) + bytes([0])
_END_OF_BLOCK: Final = "0"
# Three components, numbered; each with one sample a block and the only tables there are.
_FRAME: Final = bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
_SCAN: Final = bytes([1, 0x00, 2, 0x00, 3, 0x00])


def encode(squares: Sequence[Sequence[Colour]]) -> bytes:
    """The picture whose rows are `squares`, eight pixels wide and high each; rows are of one length, not empty."""
    height, width = len(squares) * SQUARE, len(squares[0]) * SQUARE
    frame = bytes([8]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([3, *_FRAME])
    scan = bytes([3, *_SCAN, 0, 63, 0])
    jfif = b"JFIF\0" + bytes([1, 1, 0, 0, 1, 0, 1, 0, 0])
    head = [(0xE0, jfif), (0xDB, _QUANTA), (0xC0, frame), (0xC4, _DC_TABLE), (0xC4, _AC_TABLE), (0xDA, scan)]
    return b"\xff\xd8" + b"".join(_segment(*one) for one in head) + _coded(squares) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def _coded(squares: Sequence[Sequence[Colour]]) -> bytes:
    codes = []
    before = (0, 0, 0)
    for row in squares:
        for colour in row:
            means = _means(colour)
            for mean, last in zip(means, before, strict=True):
                codes.append(_difference(mean - last) + _END_OF_BLOCK)
            before = means
    bits = "".join(codes)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")


def _difference(value: int) -> str:
    """Its number of bits, then the bits; of a negative one those of `value - 1` in two's complement."""
    size = abs(value).bit_length()
    bits = value if value >= 0 else value + (1 << size) - 1
    return _DC_CODES[size] + (f"{bits:0{size}b}" if size else "")


def _means(colour: Colour) -> tuple[int, int, int]:
    """Brightness and both differences of colour about 0 (JFIF, by ITU-R BT.601), in integers."""
    red, green, blue = colour
    light = (299 * red + 587 * green + 114 * blue) // 1000
    bluish = (500 * blue - 169 * red - 331 * green) // 1000
    reddish = (500 * red - 419 * green - 81 * blue) // 1000
    return light - 128, max(bluish, -128), max(reddish, -128)
