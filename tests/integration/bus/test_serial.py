"""Serial ports, as far as a pseudo-terminal is one."""

import asyncio
import fcntl
import os
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.transport import SerialMedium
from gateway.drivers.modbus.framing import Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.settings import SerialPort
from gateway.errors import LineDown, NoAnswer


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    """(the other end, path of the port)"""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    path = os.ttyname(theirs)
    os.close(theirs)
    yield ours, path
    try:
        os.close(ours)
    except OSError:
        return  # the test unplugged it


def line_on(**port: object) -> ModbusLine:
    medium = SerialMedium(SerialPort(**port))
    return ModbusLine(Bus(medium, Timing(0.2), reopens=False, may_echo=True), Rtu())


@pytest.mark.parametrize(
    ("port", "flags"),
    [
        ({}, termios.CS8),
        ({"data_bits": 7, "parity": "even"}, termios.CS7 | termios.PARENB),
        ({"parity": "odd", "stop_bits": 2}, termios.CS8 | termios.PARENB | termios.PARODD | termios.CSTOPB),
    ],
)
async def test_the_port_is_set_as_told(pty: tuple[int, str], port: dict[str, object], flags: int) -> None:
    line = line_on(path=pty[1], baud_rate=19_200, **port)
    await line.connect()
    own = os.open(pty[1], os.O_RDWR | os.O_NOCTTY) if os.geteuid() == 0 else pty[0]
    inputs, outputs, control, local, speed_in, speed_out, _ = termios.tcgetattr(own)
    line.close()
    framing = termios.CSIZE | termios.PARENB | termios.PARODD | termios.CSTOPB
    # A pseudo-terminal has no wire: Linux keeps it at 8 bits without parity, whatever it is told.
    assert control & framing in (flags, termios.CS8 | flags & termios.CSTOPB | flags & termios.PARODD)
    assert (outputs, local) == (0, 0)
    assert inputs & ~termios.INPCK == 0
    assert speed_in == speed_out == termios.B19200


async def test_nobody_else_may_use_it(pty: tuple[int, str]) -> None:
    first, second = line_on(path=pty[1]), line_on(path=pty[1])
    await first.connect()
    with pytest.raises(LineDown, match=r"another program|busy"):
        await second.connect()
    first.close()
    await second.connect()
    second.close()


async def test_no_port_there(tmp_path: Path) -> None:
    with pytest.raises(LineDown, match="cannot be opened: No such file"):
        await line_on(path=str(tmp_path / "ttyUSB9")).connect()


async def test_a_file_is_no_serial_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LineDown, match="no usable serial port"):
        await line_on(path=str(tmp_path / "file")).connect()


async def test_a_rate_that_no_port_has(pty: tuple[int, str]) -> None:
    with pytest.raises(LineDown, match="12345 baud"):
        await line_on(path=pty[1], baud_rate=12_345).connect()


async def test_unplugged_while_waiting(pty: tuple[int, str]) -> None:
    line = line_on(path=pty[1])
    await line.connect()
    reader = asyncio.ensure_future(line.read(1, 3, 0, 1))
    await asyncio.sleep(0)
    while not fcntl.ioctl(pty[0], termios.FIONREAD, bytes(4)).strip(b"\0"):
        await asyncio.sleep(0.001)
    os.close(pty[0])
    with pytest.raises(LineDown, match="is it plugged in"):
        await reader
    assert not line.connected
    with pytest.raises(LineDown):
        await line.read(1, 3, 0, 1)


async def test_what_waited_in_the_port_is_thrown_away(pty: tuple[int, str]) -> None:
    theirs = os.open(pty[1], os.O_RDWR | os.O_NOCTTY)
    os.write(pty[0], b"old bytes")
    line = line_on(path=pty[1])
    await line.connect()
    os.close(theirs)
    with pytest.raises(NoAnswer):
        await line.read(1, 3, 0, 1)
    await asyncio.sleep(0)
    assert line.bus.stray_bytes == 0
    line.close()
