"""Where a line is plugged in, opened as one pipe of bytes: TCP, TLS or a serial port."""

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.drivers.bus.receiver import Receiver
from gateway.drivers.bus.serial import SerialPipe
from gateway.drivers.settings import SerialPort, TlsSettings
from gateway.errors import LineDown

_OPEN_S: Final = 5.0
"""How long a connection may take to stand, handshake of TLS included."""


class Pipe(Protocol):
    """An open medium: bytes go in here and come out at the receiver's `received`."""

    def write(self, data: bytes) -> None:
        """Sends without waiting; a loss shows at the receiver's `connection_lost`."""

    def abort(self) -> None:
        """Closes at once; nothing more comes out."""


class Medium(Protocol):
    """What can be opened again and again; `str()` names it for people."""

    @property
    def hang_up(self) -> str:
        """What it may mean that the other side closes before it said anything."""

    async def open(self, receiver: Receiver) -> Pipe:
        """Opens it; what arrives goes to `receiver`. Raises LineDown with the reason."""


@dataclass(frozen=True, slots=True)
class TcpMedium:
    """A TCP connection, with TLS on it when `tls` says so. asyncio itself sets TCP_NODELAY."""

    host: str
    port: int
    tls: TlsSettings | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def hang_up(self) -> str:
        """Many converters serve one client; with TLS 1.3 a refused certificate shows only after the handshake."""
        return "is it serving somebody else?" if self.tls is None else "does it accept the gateway's certificate?"

    async def open(self, receiver: Receiver) -> Pipe:
        """Connects. Raises LineDown."""
        context = None if self.tls is None else _context(self.tls)
        name = self.tls.server_name or self.host if self.tls is not None else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_OPEN_S):
                transport, _ = await loop.create_connection(
                    lambda: receiver, self.host, self.port, ssl=context, server_hostname=name
                )
        except TimeoutError:
            raise LineDown(f"{self} accepts no connection within {_OPEN_S:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise LineDown(f"{self} shows a certificate that is not trusted: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise LineDown(f"{self} fails the TLS handshake: {error.reason or error}") from error
        except ConnectionResetError as error:
            raise LineDown(f"{self} closes the connection while it is opened") from error
        except OSError as error:
            raise LineDown(f"{self} does not accept connections: {_reason(error)}") from error
        except UnicodeError as error:  # what could not be a name at all
            raise LineDown(f"{self} does not accept connections: {error}") from error
        return transport


@dataclass(frozen=True, slots=True)
class SerialMedium:
    """A serial port of this machine."""

    settings: SerialPort

    def __str__(self) -> str:
        return self.settings.path

    @property
    def hang_up(self) -> str:
        """A port closes by itself only when it is gone."""
        return "is it plugged in?"

    async def open(self, receiver: Receiver) -> Pipe:
        """Opens and sets the port. Raises LineDown."""
        return SerialPipe(self.settings, receiver)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    """Both sides show a certificate, as Modbus Security wants it. Read at every opening: certificates are renewed."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.load_cert_chain(tls.cert_file, tls.key_file)
    except ssl.SSLError as error:
        raise LineDown(f"certificate files of the line are unusable: {error.reason or error}") from error
    except OSError as error:
        raise LineDown(f"certificate files of the line are unusable: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _reason(error: OSError) -> str:
    """asyncio says in `strerror` which call failed; the number says why. Names that resolve to nothing have none."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error.strerror or error)
