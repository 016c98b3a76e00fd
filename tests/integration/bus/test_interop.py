"""Our client against pymodbus' servers: what both misunderstand in the same way is not found by our own simulator."""

import asyncio
import os
import socket
import ssl
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.drivers.bus import transport
from gateway.drivers.bus.bus import Bus, Timing
from gateway.drivers.bus.transport import Medium, SerialMedium, TcpMedium
from gateway.drivers.modbus.framing import Ascii, Framing, Mbap, Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.settings import SerialPort, TlsSettings
from gateway.errors import ExceptionReply, LineDown
from tests.integration.bus.certificates import Authority

UNIT = 17
REGISTERS = [(3 * at + 7) * 257 & 0xFFFF for at in range(200)]
BITS = [bool(at % 3) for at in range(64)]


def device() -> SimDevice:
    """Its own registers and bits for each of the four kinds."""
    registers = SimData(0, values=REGISTERS, datatype=DataType.REGISTERS)
    return SimDevice(
        UNIT,
        (
            [SimData(0, values=BITS, datatype=DataType.BITS)],
            [SimData(0, values=BITS[::-1], datatype=DataType.BITS)],
            [registers],
            [SimData(0, values=REGISTERS[::-1], datatype=DataType.REGISTERS)],
        ),
    )


@asynccontextmanager
async def served(framer: FramerType, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Port of a running server of pymodbus."""
    address = ("127.0.0.1", 0)
    if context is None:
        server = ModbusTcpServer(device(), framer=framer, address=address)
    else:
        server = ModbusTlsServer(device(), framer=framer, address=address, sslctx=context)
    await server.serve_forever(background=True)
    try:
        assert isinstance(server.transport, asyncio.Server)
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus annotates most, not this


def line(medium: Medium, framing: Framing) -> ModbusLine:
    bus = Bus(medium, Timing(1.0, 0.0001, 0.002, 0.2), reopens=True, may_echo=not isinstance(framing, Mbap))
    return ModbusLine(bus, framing)


async def talk(modbus: ModbusLine) -> None:
    """Everything that a line can do."""
    try:
        assert await modbus.read(UNIT, 3, 10, 12) == tuple(REGISTERS[10:22])
        assert await modbus.read(UNIT, 3, 0, 125) == tuple(REGISTERS[:125])
        assert await modbus.read(UNIT, 4, 5, 3) == tuple(REGISTERS[::-1][5:8])
        assert await modbus.read(UNIT, 1, 3, 10) == tuple(int(bit) for bit in BITS[3:13])
        assert await modbus.read(UNIT, 2, 0, 1) == (int(BITS[63]),)
        await modbus.write(UNIT, 6, 20, [0xBEEF])
        await modbus.write(UNIT, 16, 21, [1, 2, 65_535])
        assert await modbus.read(UNIT, 3, 20, 4) == (0xBEEF, 1, 2, 65_535)
        await modbus.write(UNIT, 5, 1, [0])
        await modbus.write(UNIT, 5, 0, [1])
        await modbus.write(UNIT, 15, 8, [1, 1, 0, 1, 0, 0, 1, 1, 1])
        assert (await modbus.read(UNIT, 1, 0, 17))[:2] == (1, 0)
        assert (await modbus.read(UNIT, 1, 0, 17))[8:] == (1, 1, 0, 1, 0, 0, 1, 1, 1)
        with pytest.raises(ExceptionReply) as refused:
            await modbus.read(UNIT, 3, 199, 2)
        assert refused.value.code == 2
        assert modbus.connected
    finally:
        modbus.close()


@pytest.mark.parametrize(
    ("framer", "framing"), [(FramerType.SOCKET, Mbap), (FramerType.RTU, Rtu), (FramerType.ASCII, Ascii)]
)
async def test_over_tcp(framer: FramerType, framing: type[Framing]) -> None:
    async with served(framer) as port:
        await talk(line(TcpMedium("127.0.0.1", port), framing()))


@pytest.mark.parametrize(("framer", "framing"), [(FramerType.RTU, Rtu), (FramerType.ASCII, Ascii)])
async def test_over_a_serial_port(framer: FramerType, framing: type[Framing]) -> None:
    async with served(framer) as port, wired(port) as path:
        await talk(line(SerialMedium(SerialPort(path=path, baud_rate=115_200, parity="even")), framing()))


@asynccontextmanager
async def wired(port: int) -> AsyncIterator[str]:
    """Path of a serial port whose bytes go to and come from a TCP port."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: writer.write(os.read(ours, 1_024)))

    async def back() -> None:
        while data := await reader.read(1_024):
            os.write(ours, data)

    returning = asyncio.create_task(back())
    try:
        yield os.ttyname(theirs)
    finally:
        loop.remove_reader(ours)
        writer.close()
        await returning
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def server_context(authority: Authority, name: str = "meter.test") -> ssl.SSLContext:
    """A device that wants to see a certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def tls_line(port: int, tls: TlsSettings) -> ModbusLine:
    return line(TcpMedium("127.0.0.1", port, tls), Mbap())


def tls_settings(authority: Authority, ca_file: Path | None = None, server_name: str = "meter.test") -> TlsSettings:
    cert, key = authority.issue("gateway.test")
    return TlsSettings(ca_file=ca_file or authority.file, cert_file=cert, key_file=key, server_name=server_name)


async def test_over_tls(authority: Authority) -> None:
    async with served(FramerType.SOCKET, server_context(authority)) as port:
        await talk(tls_line(port, tls_settings(authority)))


async def test_tls_without_the_right_certificates(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger")
    async with served(FramerType.SOCKET, server_context(authority)) as port:
        with pytest.raises(LineDown, match="not trusted"):
            await tls_line(port, tls_settings(authority, ca_file=stranger.file)).connect()
        with pytest.raises(LineDown, match=r"not trusted.*other\.test"):
            await tls_line(port, tls_settings(authority, server_name="other.test")).connect()
        unreadable = tls_settings(authority).model_copy(update={"key_file": tmp_path / "gone.key"})
        with pytest.raises(LineDown, match="unusable: No such file"):
            await tls_line(port, unreadable).connect()
        swapped = tls_settings(authority).model_copy(update={"key_file": stranger.issue("x")[1]})
        with pytest.raises(LineDown, match="unusable"):
            await tls_line(port, swapped).connect()


async def test_tls_where_our_certificate_is_not_welcome(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger")
    async with served(FramerType.SOCKET, server_context(authority)) as port:
        modbus = tls_line(port, tls_settings(stranger, ca_file=authority.file))
        # With TLS 1.3 the device's refusal comes after our side of the handshake is done.
        with pytest.raises(LineDown, match=r"TLS|accept the gateway's certificate"):
            await modbus.read(UNIT, 3, 0, 1)
        assert not modbus.connected


async def test_tls_to_what_speaks_no_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_OPEN_S", 0.2)
    async with served(FramerType.SOCKET) as port:
        with pytest.raises(LineDown, match=r"accepts no connection within 0\.2 s|TLS"):
            await tls_line(port, tls_settings(authority)).connect()


@contextmanager
def free_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_nobody_listens() -> None:
    with free_port() as port:
        modbus = line(TcpMedium("127.0.0.1", port), Mbap())
        with pytest.raises(LineDown, match=r"does not accept connections: .*refused"):
            await modbus.connect()
        with pytest.raises(LineDown):
            await modbus.read(1, 3, 0, 1)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..name", "a" * 64])
async def test_a_host_that_has_no_address(host: str) -> None:
    with pytest.raises(LineDown, match=rf"{host}:502 does not accept connections"):
        await line(TcpMedium(host, 502), Mbap()).connect()


async def test_a_peer_that_hangs_up_at_once() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    try:
        modbus = line(TcpMedium("127.0.0.1", server.sockets[0].getsockname()[1]), Mbap())
        for _ in range(3):
            with pytest.raises(LineDown, match=r"hangs up on a new connection|broke the connection"):
                await modbus.read(1, 3, 0, 1)
        modbus.close()
    finally:
        server.close()
