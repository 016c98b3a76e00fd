"""Fetches a file of a provider: part by part, and never more than memory can take."""

from collections.abc import Mapping

import httpx

from cloud.payments.channels.base import ChannelName, ProviderUnavailable
from cloud.payments.channels.statement_files import LARGEST_FILE


async def download(
    client: httpx.AsyncClient, channel: ChannelName, address: str | httpx.URL, headers: Mapping[str, str] | None = None
) -> bytes:
    """The file at an address. Raises ProviderUnavailable where there is none, or one larger than LARGEST_FILE."""
    content = bytearray()
    try:
        async with client.stream("GET", address, headers=headers) as answer:
            if not answer.is_success:
                raise ProviderUnavailable(f"{channel}-unavailable", f"a file: status {answer.status_code}")
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > LARGEST_FILE:
                    raise ProviderUnavailable(f"{channel}-unreadable", f"a file of more than {LARGEST_FILE} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ProviderUnavailable(f"{channel}-unavailable", f"a file: {type(error).__name__}") from error
    return bytes(content)
