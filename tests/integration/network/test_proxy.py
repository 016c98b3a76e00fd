"""The proxy passes bytes unchanged, and breaks exactly as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from simulators.network.proxy import Proxy


@asynccontextmanager
async def echo_behind_proxy() -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


async def said_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    async with asyncio.timeout(60):
        return await reader.readexactly(len(text))


async def test_bytes_pass_unchanged_also_with_a_delay() -> None:
    async with echo_behind_proxy() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said_back(reader, writer, b"one") == b"one"
        proxy.delay_s = 0.02
        assert await said_back(reader, writer, b"two") == b"two"
        assert proxy.passed_bytes == 12
        writer.close()


async def test_a_cut_breaks_what_is_open_and_refuses_what_comes_until_it_heals() -> None:
    async with echo_behind_proxy() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said_back(reader, writer, b"one") == b"one"
        await proxy.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await said_back(reader, writer, b"two")
        proxy.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said_back(reader, writer, b"three") == b"three"
        writer.close()


async def test_a_stalled_cable_breaks_nothing_and_delivers_later() -> None:
    async with echo_behind_proxy() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await said_back(reader, writer, b"one") == b"one"
        proxy.stall()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(3)
        proxy.heal()
        async with asyncio.timeout(60):
            assert await reader.readexactly(3) == b"two"
        writer.close()
