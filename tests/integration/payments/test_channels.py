"""The adapters against their peers: refunds, answers that were tampered with, and key files that cannot be used."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from cloud.kit.yaml_files import InvalidFile
from cloud.payments.channels.alipay import Alipay
from cloud.payments.channels.base import Channel, ChannelName, Order, ProviderRefused, ProviderUnavailable
from cloud.payments.channels.configuration import Channels, open_channels
from cloud.payments.channels.rsa_keys import BadKeyFile
from cloud.payments.channels.wechat import WechatPay
from tests.integration.payments.providers import API_V3_KEY, PUBLIC_URL, Providers, private_pem, providers

__all__ = ["providers"]


@pytest.fixture
async def channels(providers: Providers) -> AsyncIterator[Channels]:
    """Both adapters."""
    async with providers.channels() as made:
        yield made


def _order(reference: str = "order0001", amount: str = "88.88") -> Order:
    return Order(reference, "物业费 2026-000001", Decimal(amount), "CNY", datetime.now(UTC) + timedelta(minutes=15))


@pytest.mark.parametrize("name", ["wechat", "alipay"])
async def test_an_order_from_its_making_to_its_refund(
    channels: Channels, providers: Providers, name: ChannelName
) -> None:
    channel: Channel = channels[name]
    assert (await channel.query("order0001")).trade == "unknown"
    await channel.close("order0001")
    first = await channel.place(_order())
    assert await channel.place(_order()) == first
    with pytest.raises(ProviderRefused):
        await channel.place(_order(amount="88.89"))
    (providers.wechat if name == "wechat" else providers.alipay).pay("order0001")
    seen = await channel.query("order0001")
    assert (seen.trade, seen.paid and seen.paid.amount, seen.paid and seen.paid.currency) == (
        "paid", Decimal("88.88"), "CNY",
    )  # fmt: skip
    assert seen.paid is not None
    with pytest.raises(ProviderRefused):
        await channel.close("order0001")
    once, again = [await channel.refund(seen.paid, "refund0001", Decimal("80.00"), "moved out") for _ in range(2)]
    assert once == again
    with pytest.raises(ProviderRefused):
        await channel.refund(seen.paid, "refund0002", Decimal("8.89"), "moved out")
    await channel.refund(seen.paid, "refund0003", Decimal("8.88"), "moved out")


async def test_an_answer_about_another_order_is_no_answer(channels: Channels, providers: Providers) -> None:
    """What was signed for one order is sent as the answer about another."""
    for channel in channels.values():
        await channel.place(_order("order0001"))
        await channel.place(_order("order0002"))
    providers.wechat.trades["order0002"] = providers.wechat.pay("order0001")
    providers.alipay.trades["order0002"] = providers.alipay.pay("order0001")
    for channel in channels.values():
        with pytest.raises(ProviderUnavailable, match="another order"):
            await channel.query("order0002")


async def test_a_second_member_that_nobody_signed_changes_nothing(channels: Channels, providers: Providers) -> None:
    await channels["alipay"].place(_order())
    providers.alipay.scan("order0001")

    async def tampering(request: httpx.Request) -> httpx.Response:
        inner = httpx.ASGITransport(providers.alipay.app())
        answer = await inner.handle_async_request(request)
        await answer.aread()
        told = json.loads(answer.text)["alipay_trade_query_response"] | {"trade_status": "TRADE_SUCCESS"}
        forged = answer.text[:-1] + f',"alipay_trade_query_response":{json.dumps(told)}}}'
        return httpx.Response(200, text=forged)

    async with httpx.AsyncClient(transport=httpx.MockTransport(tampering)) as client:
        made = open_channels(providers.file, PUBLIC_URL, client)["alipay"]
        assert (await made.query("order0001")).trade == "waiting"


async def test_no_key_is_ever_shown(channels: Channels) -> None:
    wechat, alipay = channels["wechat"], channels["alipay"]
    assert isinstance(wechat, WechatPay)
    assert isinstance(alipay, Alipay)
    shown = repr(wechat._merchant) + repr(alipay._merchant)
    assert API_V3_KEY.decode() not in shown
    assert "RSA" not in shown


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("ours.pem", b"secret nonsense", "an RSA private key"),
        ("ours.pem", private_pem(rsa.generate_private_key(65537, 1024)), "at least 2048 bits"),
        ("wechat.pem", b"secret nonsense", "an RSA public key or a certificate"),
        ("api_v3_key", b"secret nonsense", "32 characters"),
    ],
)
def test_key_files_that_cannot_be_used_are_named_and_not_told(
    providers: Providers, name: str, content: bytes, what: str
) -> None:
    (providers.folder / name).write_bytes(content)
    with pytest.raises(BadKeyFile, match=what) as caught:
        open_channels(providers.file, PUBLIC_URL, httpx.AsyncClient())
    assert name in str(caught.value)
    assert "nonsense" not in str(caught.value)


def test_what_else_is_wrong_with_a_file_of_providers(providers: Providers) -> None:
    assert open_channels(None, None, httpx.AsyncClient()) == {}
    with pytest.raises(BadKeyFile, match="GATEMETER_PUBLIC_URL"):
        open_channels(providers.file, None, httpx.AsyncClient())
    (providers.folder / "ours.pem").unlink()
    with pytest.raises(BadKeyFile, match="readable"):
        open_channels(providers.file, PUBLIC_URL, httpx.AsyncClient())
    providers.file.write_text("wechatt: {}\n")
    with pytest.raises(InvalidFile, match="wechatt"):
        open_channels(providers.file, PUBLIC_URL, httpx.AsyncClient())
