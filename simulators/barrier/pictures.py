"""What the camera of a lane sees: the front of a vehicle with its plate, drawn square by square. Pure."""

from typing import Final

from simulators.barrier.glyphs import dots
from simulators.barrier.jpeg import Colour, encode

_WIDTH, _HEIGHT = 112, 63
"""In squares of eight pixels."""
_WALL: Final = (120, 128, 134)
_ROAD: Final = (72, 74, 78)
_TYRE: Final = (24, 24, 26)
_GLASS: Final = (52, 66, 80)
_LIGHT: Final = (246, 240, 208)
_WORDS: Final = (236, 236, 230)
_PAINTS: Final = ((196, 202, 208), (38, 42, 50), (150, 34, 36), (232, 232, 228), (44, 74, 120), (96, 104, 110))
_PLATES: Final[dict[str, tuple[Colour, Colour]]] = {
    "small": ((18, 70, 170), (250, 250, 250)),
    "new-energy": ((130, 206, 140), (16, 20, 18)),
    "large": ((240, 186, 40), (16, 16, 16)),
}
"""Ground and letters by class."""
_PLATE_ROWS: Final = 12
_PLATE_SIGNS: Final = 8
_GAP: Final = 1


class _Canvas:
    def __init__(self) -> None:
        self.squares = [[_WALL if row < _HEIGHT * 3 // 5 else _ROAD] * _WIDTH for row in range(_HEIGHT)]

    def fill(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        for row in self.squares[top : top + height]:
            row[left : left + width] = [colour] * width

    def write(self, left: int, top: int, text: str, colour: Colour, rows: int) -> None:
        """Characters side by side, each stretched to `rows`; what is beyond the edge is left out."""
        for character in text:
            shape = dots(character)
            if left + len(shape[0]) > _WIDTH:
                return
            for row in range(rows):
                for column, dot in enumerate(shape[row * len(shape) // rows]):
                    if dot == "#":
                        self.squares[top + row][left + column] = colour
            left += len(shape[0]) + _GAP


def picture(plate: str, vehicle_class: str, camera: str) -> bytes:
    """A JPEG of 896 × 504 pixels: a vehicle with that plate, none when it is empty, and the camera's name above."""
    canvas = _Canvas()
    _draw_vehicle(canvas, _PAINTS[sum(plate.encode()) % len(_PAINTS)], large=vehicle_class == "large")
    canvas.write(3, 3, camera.upper(), _WORDS, 7)
    if plate:
        _draw_plate(canvas, plate[:_PLATE_SIGNS], *_PLATES.get(vehicle_class, _PLATES["small"]))
    return encode(canvas.squares)


def _draw_vehicle(canvas: _Canvas, paint: Colour, *, large: bool) -> None:
    left, width, top = (10, 92, 2) if large else (14, 84, 12)
    dark: Colour = (paint[0] * 3 // 4, paint[1] * 3 // 4, paint[2] * 3 // 4)
    for foot in (left + 2, left + width - 14):
        canvas.fill(foot, 52, 12, 9, _TYRE)
    for row in range(top, 30):  # the cabin widens from the roof down
        slope = 0 if large else (30 - row) // 2
        canvas.fill(left + 6 + slope, row, width - 12 - 2 * slope, 1, paint)
        if row > top + 2:
            canvas.fill(left + 9 + slope, row, width - 18 - 2 * slope, 1, _GLASS)
    canvas.fill(left, 30, width, 26, paint)
    canvas.fill(left, 34, width, 1, dark)
    canvas.fill(left + 22, 36, width - 44, 2, dark)
    for lamp in (left + 4, left + width - 16):
        canvas.fill(lamp, 34, 12, 5, _LIGHT)
    canvas.fill(left, 52, width, 5, dark)


def _draw_plate(canvas: _Canvas, plate: str, ground: Colour, letters: Colour) -> None:
    width = sum(len(dots(character)[0]) + _GAP for character in plate) + 3
    left = (_WIDTH - width) // 2
    canvas.fill(left - 1, 39, width + 2, _PLATE_ROWS + 6, _TYRE)
    canvas.fill(left, 40, width, _PLATE_ROWS + 4, ground)
    canvas.write(left + 2, 42, plate, letters, _PLATE_ROWS)
