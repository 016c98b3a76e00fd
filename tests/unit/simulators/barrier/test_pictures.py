"""Pictures of simulated cameras: JPEG by the book, as a small decoder reads it, with the plate on them."""

from simulators.barrier.glyphs import dots
from simulators.barrier.jpeg import encode
from simulators.barrier.pictures import picture


def segments(content: bytes) -> tuple[dict[int, bytes], bytes]:
    """The last segment of each marker, and what is coded."""
    assert (content[:2], content[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    found, at = {}, 2
    while content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        found[content[at + 1]] = content[at + 4 : at + 2 + length]
        at += 2 + length
    return found, content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") : -2].replace(b"\xff\0", b"\xff")


def codes(lengths: bytes) -> dict[str, int]:
    """Huffman codes in their canonical order (T.81, C.2): number of the symbol by code."""
    found: dict[str, int] = {}
    code = 0
    for length, count in enumerate(lengths, 1):
        for _ in range(count):
            found[f"{code:0{length}b}"] = len(found)
            code += 1
        code <<= 1
    return found


def brightness(content: bytes) -> list[int]:
    """Of every square, row by row."""
    found, coded = segments(content)
    bits = "".join(f"{byte:08b}" for byte in coded)
    sizes = codes(bytes([1, 0, 0, 4, 4, *[0] * 11]))
    at, means, light = 0, [0, 0, 0], []
    height, width = (int.from_bytes(found[0xC0][place : place + 2], "big") // 8 for place in (1, 3))
    for block in range(height * width * 3):
        end = next(end for end in range(at + 1, at + 6) if bits[at:end] in sizes)
        size = sizes[bits[at:end]]
        value = int(bits[end : end + size] or "0", 2)
        means[block % 3] += value if size == 0 or bits[end] == "1" else value - (1 << size) + 1
        assert bits[end + size] == "0", "the end of the block"
        at = end + size + 1
        if block % 3 == 0:
            light.append(means[0] + 128)
    assert set(bits[at:]) <= {"1"}
    assert len(bits) - at < 8
    return light


def test_squares_are_read_as_they_were_drawn() -> None:
    greys = [[(value, value, value) for value in row] for row in ((0, 255, 128), (255, 0, 1), (77, 76, 200))]
    assert brightness(encode(greys)) == [0, 255, 128, 255, 0, 1, 77, 76, 200]


def test_the_tables_are_those_that_were_coded_with() -> None:
    found, _ = segments(encode([[(1, 2, 3)]]))
    assert found[0xC4] == bytes([0x10, 1, *[0] * 15, 0])
    assert found[0xDB] == bytes([0, *[8] * 64])
    assert found[0xC0] == bytes([8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])


def test_every_plate_that_drives_around_can_be_drawn() -> None:
    unknown = dots("?")
    for character in "京津冀晋辽沪苏浙鲁粤0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-":
        shape = dots(character)
        assert shape != unknown
        assert {len(row) for row in shape} == {12 if len(shape) == 12 else 5}


def test_pictures_differ_by_plate_class_and_camera() -> None:
    told = [
        ("京A12345", "small", "GM-IN-1"),
        ("京A12346", "small", "GM-IN-1"),
        ("京A12345", "large", "GM-IN-1"),
        ("京A12345", "small", "GM-OUT-1"),
        ("", "small", "GM-IN-1"),
        ("学" * 40, "anything", "a name that is longer than the picture is wide"),
    ]
    drawn = {picture(*one) for one in told}
    assert len(drawn) == len(told)
    assert all(len(content) < 16_000 for content in drawn)
