"""A serial port as a pipe of bytes on the event loop, with what Linux offers by itself."""

import asyncio
import fcntl
import os
import termios
from array import array
from typing import Final

from gateway.drivers.bus.receiver import Receiver
from gateway.drivers.settings import SerialPort
from gateway.errors import LineDown

_READ: Final = 4_096
_TIOCGSERIAL, _TIOCSSERIAL = 0x541E, 0x541F
_FLAGS: Final = 4
"""Place of `flags` in Linux' struct serial_struct, counted in ints."""
_ASYNC_LOW_LATENCY: Final = 0x2000


class SerialPipe:
    """An open serial port that nobody else may use meanwhile."""

    def __init__(self, settings: SerialPort, receiver: Receiver) -> None:
        """Opens and sets the port. Raises LineDown with the reason."""
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self._fd = _opened(settings)
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Hands the bytes to the port."""
        if self._unsent:
            self._unsent += data
        elif self._fd >= 0:
            self._unsent = data
            self._writable()

    def abort(self) -> None:
        """Closes the port; what was not sent is thrown away."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd, self._unsent = -1, b""

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ)
        except BlockingIOError:
            return
        except OSError as error:  # unplugged
            self._lost(error)
            return
        if data:
            self._receiver.received(data)
        else:
            self._lost(None)

    def _writable(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._fd, self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(error)
            return
        if self._unsent:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _lost(self, error: OSError | None) -> None:
        self.abort()
        self._loop.call_soon(self._receiver.connection_lost, error)


def _opened(settings: SerialPort) -> int:
    speed = getattr(termios, f"B{settings.baud_rate}", None)
    if speed is None:
        raise LineDown(f"{settings.path}: {settings.baud_rate} baud is no rate that serial ports offer")
    try:
        fd = os.open(settings.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise LineDown(f"{settings.path} cannot be opened: {error.strerror}") from error
    try:
        # Both ways of keeping others out: the kernel's for every program, the lock for root's and for its own kind.
        fcntl.ioctl(fd, termios.TIOCEXCL)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _set(fd, settings, speed)
    except BlockingIOError:
        os.close(fd)
        raise LineDown(f"{settings.path} is used by another program") from None
    except (OSError, termios.error) as error:
        os.close(fd)
        raise LineDown(f"{settings.path} is no usable serial port: {error}") from error
    return fd


def _set(fd: int, settings: SerialPort, speed: int) -> None:
    """Raw bytes, framed as the settings say; anything that waited in the port is thrown away."""
    control = termios.CREAD | termios.CLOCAL | (termios.CS7 if settings.data_bits == 7 else termios.CS8)
    if settings.parity != "none":
        control |= termios.PARENB | (termios.PARODD if settings.parity == "odd" else 0)
    if settings.stop_bits == 2:
        control |= termios.CSTOPB
    # A byte with wrong parity arrives as 0, which the frame's check then finds.
    check = termios.INPCK if settings.parity != "none" else 0
    characters = termios.tcgetattr(fd)[6]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, [check, 0, control, 0, speed, speed, characters])
    termios.tcflush(fd, termios.TCIOFLUSH)
    _hurry(fd)


def _hurry(fd: int) -> None:
    """Asks the driver to hand over bytes at once: USB adapters collect them for 16 ms otherwise."""
    state = array("i", [0] * 32)
    try:
        fcntl.ioctl(fd, _TIOCGSERIAL, state)
        state[_FLAGS] |= _ASYNC_LOW_LATENCY
        fcntl.ioctl(fd, _TIOCSSERIAL, state)
    except OSError:
        return  # a driver without this state, such as a pseudo-terminal, does not collect either
