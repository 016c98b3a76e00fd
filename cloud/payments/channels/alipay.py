"""Alipay: codes that are scanned (alipay.trade.precreate), signed both ways by RSA2.

After opendocs.alipay.com: common parameters and signing, verification of answers and of asynchronous notices,
precreate, query, close, refund. On a phone the address in the code opens the app itself.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from cloud.kit.money import minor_digits, round_half_up
from cloud.payments.channels.base import (
    BadCallback,
    Callback,
    ChannelName,
    Move,
    Order,
    Paid,
    ProviderRefused,
    ProviderUnavailable,
    Seen,
    Trade,
)
from cloud.payments.channels.downloading import download
from cloud.payments.channels.rsa_keys import sign, verified
from cloud.payments.channels.statement_files import alipay_moves

GATEWAY: Final = "https://openapi.alipay.com/gateway.do"
_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_MOMENT: Final = "%Y-%m-%d %H:%M:%S"
_CURRENCY: Final = "CNY"
_TRADES: Final[Mapping[str, Trade]] = {
    "WAIT_BUYER_PAY": "waiting",
    "TRADE_SUCCESS": "paid",
    "TRADE_FINISHED": "paid",
    "TRADE_CLOSED": "closed",
}
_NOT_EXIST: Final = "ACQ.TRADE_NOT_EXIST"
_NO_STATEMENT: Final = ("BILL_NOT_EXIST", "isp.bill_not_exist")
_AGAIN: Final = ("ACQ.SYSTEM_ERROR", "aop.ACQ.SYSTEM_ERROR", "isp.unknow-error")
_DONE: Final = "10000"
_UNKNOWN: Final = "20000"


@dataclass(frozen=True, slots=True)
class AlipayMerchant:
    """Who we are at Alipay."""

    app_id: str
    private_key: RSAPrivateKey = field(repr=False)
    alipay_key: RSAPublicKey = field(repr=False)
    notify_url: str
    gateway: str = GATEWAY


class Alipay:
    """The adapter. The HTTP client is the caller's, with its timeouts."""

    name: ChannelName = "alipay"

    def __init__(self, merchant: AlipayMerchant, client: httpx.AsyncClient) -> None:
        self._merchant = merchant
        self._client = client

    async def place(self, order: Order) -> str:
        """The address that the code holds."""
        content = {
            "out_trade_no": order.reference,
            "total_amount": _amount(order.amount, order.currency),
            "subject": order.description,
            "time_expire": order.expires_at.astimezone(_SHANGHAI).strftime(_MOMENT),
        }
        address = (await self._ask("alipay.trade.precreate", content, notify=True)).get("qr_code")
        if not isinstance(address, str) or not address:
            raise ProviderUnavailable("alipay-unreadable", "an order without qr_code")
        return address

    async def query(self, reference: str) -> Seen:
        """The state of the order. Alipay has none before somebody has scanned the code."""
        try:
            found = await self._ask("alipay.trade.query", {"out_trade_no": reference})
        except ProviderRefused as refused:
            if refused.code == _NOT_EXIST:
                return Seen("unknown")
            raise
        if found.get("out_trade_no") != reference:
            raise ProviderUnavailable("alipay-unreadable", "an answer about another order")
        trade = _TRADES.get(str(found.get("trade_status")), "waiting")
        if trade != "paid":
            return Seen(trade)
        return Seen(trade, _paid(found, found.get("send_pay_date")))

    async def close(self, reference: str) -> None:
        """Closes the order; where nobody has scanned the code there is none, and the code ends with its time."""
        try:
            await self._ask("alipay.trade.close", {"out_trade_no": reference})
        except ProviderRefused as refused:
            if refused.code != _NOT_EXIST:
                raise

    async def refund(self, paid: Paid, refund_reference: str, amount: Decimal, reason: str) -> str:
        """Gives back part or all, at once; Alipay knows a refund by our reference only."""
        content = {
            "trade_no": paid.provider_id,
            "refund_amount": _amount(amount, paid.currency),
            "out_request_no": refund_reference,
            "refund_reason": reason[:256],
        }
        await self._ask("alipay.trade.refund", content)
        return refund_reference

    async def statement(self, day: date) -> tuple[Move, ...] | None:
        """The trade bill of a day, made in the morning after it; the address of the file is good for half a minute."""
        content = {"bill_type": "trade", "bill_date": day.isoformat()}
        try:
            found = await self._ask("alipay.data.dataservice.bill.downloadurl.query", content)
        except ProviderRefused as refused:
            if refused.code in _NO_STATEMENT:
                return None
            raise
        archive = await download(self._client, "alipay", str(found.get("bill_download_url")))
        # In a thread: whatever else the worker does goes on meanwhile.
        return await asyncio.to_thread(alipay_moves, archive)

    def read_callback(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:  # noqa: ARG002
        """Verifies an asynchronous notice: a form whose fields are signed, in the order of their names."""
        try:
            told = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=True))
        except ValueError:
            raise BadCallback("bad-callback", "not what Alipay sends") from None
        signed = {name: value for name, value in told.items() if name not in ("sign", "sign_type")}
        if told.get("sign_type") != "RSA2" or not verified(
            self._merchant.alipay_key, _joined(signed).encode(), told.get("sign", "")
        ):
            raise BadCallback("bad-signature", "not signed by Alipay")
        if told.get("app_id") != self._merchant.app_id or "notify_id" not in told:
            raise BadCallback("bad-callback", "it is about somebody else")
        if _TRADES.get(told.get("trade_status", "")) != "paid":
            return Callback(told["notify_id"], None)
        try:
            return Callback(told["notify_id"], _paid(told, told.get("gmt_payment")))
        except ProviderUnavailable as error:
            raise BadCallback("bad-callback", error.detail) from None

    def callback_answer(self) -> tuple[str, str]:
        """These seven letters and nothing else."""
        return "success", "text/plain"

    async def _ask(self, method: str, content: Mapping[str, str], *, notify: bool = False) -> dict[str, Any]:
        values = {
            "app_id": self._merchant.app_id,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": datetime.now(_SHANGHAI).strftime(_MOMENT),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        if notify:
            values["notify_url"] = self._merchant.notify_url
        values["sign"] = sign(self._merchant.private_key, _joined(values))
        try:
            answer = await self._client.post(self._merchant.gateway, params={"charset": "utf-8"}, data=values)
        except httpx.HTTPError as error:
            raise ProviderUnavailable("alipay-unavailable", f"{method}: {type(error).__name__}") from error
        if not answer.is_success:
            raise ProviderUnavailable("alipay-unavailable", f"{method}: status {answer.status_code}")
        return self._content(method, answer.text)

    def _content(self, method: str, text: str) -> dict[str, Any]:
        """The answer to `method`, once its signature over the very characters of it is verified."""
        try:
            raw = _raw(text, method.replace(".", "_") + "_response")
            # What is read is what is verified: a second member of the same name changes nothing.
            found: dict[str, Any] = json.loads(raw)
            signature = str(json.loads(text).get("sign", ""))
        except (ValueError, AttributeError) as error:
            raise ProviderUnavailable("alipay-unreadable", f"{method}: {type(error).__name__}") from None
        if not verified(self._merchant.alipay_key, raw.encode(), signature):
            raise ProviderUnavailable("alipay-unsigned", f"{method}: an answer that Alipay has not signed")
        code, sub_code = str(found.get("code")), str(found.get("sub_code", ""))
        if code == _DONE:
            return found
        if code == _UNKNOWN or sub_code in _AGAIN:
            raise ProviderUnavailable("alipay-unavailable", f"{method}: {sub_code or code}")
        raise ProviderRefused(sub_code or code, str(found.get("sub_msg", found.get("msg", "")))[:200])


def _joined(values: Mapping[str, str]) -> str:
    """What is signed: names in order, without empty values."""
    return "&".join(f"{name}={values[name]}" for name in sorted(values) if values[name] != "")


def _raw(text: str, name: str) -> str:
    """The characters of one member of a JSON object, as they came."""
    begin = text.index("{", text.index(f'"{name}"'))
    _, end = json.JSONDecoder().raw_decode(text, begin)
    return text[begin:end]


def _amount(amount: Decimal, currency: str) -> str:
    if currency != _CURRENCY:
        raise ProviderRefused("bad-currency", f"expected {_CURRENCY}, got {currency}")
    return format(round_half_up(amount, minor_digits(currency)), "f")


def _paid(found: Mapping[str, Any], moment: object) -> Paid:
    try:
        return Paid(
            reference=str(found["out_trade_no"]),
            provider_id=str(found["trade_no"]),
            amount=Decimal(str(found["total_amount"])),
            currency=_CURRENCY,
            paid_at=datetime.strptime(str(moment), _MOMENT).replace(tzinfo=_SHANGHAI),
        )
    except (KeyError, ValueError, InvalidOperation) as error:
        raise ProviderUnavailable("alipay-unreadable", f"expected a paid trade: {type(error).__name__}") from None
