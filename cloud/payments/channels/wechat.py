"""WeChat Pay, API v3: orders for a code (Native) or the browser of a phone (H5), signed both ways.

After pay.weixin.qq.com/doc/v3: signing of requests, verification of answers and callbacks, decryption of callbacks,
Native and H5 orders, query by out_trade_no, close, refund.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import httpx
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloud.kit.money import from_minor, minor_digits, to_minor
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
from cloud.payments.channels.statement_files import wechat_moves

BASE_URL: Final = "https://api.mch.weixin.qq.com"
_SCHEMA: Final = "WECHATPAY2-SHA256-RSA2048"
_ALGORITHM: Final = "AEAD_AES_256_GCM"
_LATE_S: Final = 300
"""Answers and callbacks that were signed longer ago may be somebody's repetition."""
_TRADES: Final[Mapping[str, Trade]] = {
    "SUCCESS": "paid",
    "REFUND": "paid",  # paid, and given back in part or whole
    "NOTPAY": "waiting",
    "USERPAYING": "waiting",
    "PAYERROR": "waiting",
    "ACCEPT": "waiting",
    "CLOSED": "closed",
    "REVOKED": "closed",
}
_LONGEST_DESCRIPTION: Final = 127


@dataclass(frozen=True, slots=True)
class WechatMerchant:
    """Who we are at WeChat Pay. `platform_keys`: by certificate serial number, or by the id of the public key."""

    merchant_id: str
    app_id: str
    certificate_serial: str
    private_key: RSAPrivateKey = field(repr=False)
    api_v3_key: bytes = field(repr=False)
    platform_keys: Mapping[str, RSAPublicKey] = field(repr=False)
    notify_url: str
    base_url: str = BASE_URL


class WechatPay:
    """The adapter. The HTTP client is the caller's, with its timeouts."""

    name: ChannelName = "wechat"

    def __init__(self, merchant: WechatMerchant, client: httpx.AsyncClient) -> None:
        self._merchant = merchant
        self._client = client

    async def place(self, order: Order) -> str:
        """The code (`weixin://…`), or the page that opens WeChat on a phone."""
        body: dict[str, Any] = {
            "appid": self._merchant.app_id,
            "mchid": self._merchant.merchant_id,
            "description": order.description[:_LONGEST_DESCRIPTION],
            "out_trade_no": order.reference,
            "time_expire": order.expires_at.isoformat(timespec="seconds"),
            "notify_url": self._merchant.notify_url,
            "amount": {"total": to_minor(order.amount, minor_digits(order.currency)), "currency": order.currency},
        }
        if order.mode == "phone":
            body["scene_info"] = {"payer_client_ip": order.payer_ip or "", "h5_info": {"type": "Wap"}}
            return _address(await self._ask("POST", "/v3/pay/transactions/h5", body), "h5_url")
        return _address(await self._ask("POST", "/v3/pay/transactions/native", body), "code_url")

    async def query(self, reference: str) -> Seen:
        """The state of the order; unknown where WeChat has none."""
        place = f"/v3/pay/transactions/out-trade-no/{quote(reference, safe='')}?mchid={self._merchant.merchant_id}"
        try:
            found = await self._ask("GET", place)
        except ProviderRefused as refused:
            if refused.code in ("ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS"):
                return Seen("unknown")
            raise
        if found.get("out_trade_no") != reference:
            raise ProviderUnavailable("wechat-unreadable", "an answer about another order")
        trade = _TRADES.get(str(found.get("trade_state")), "waiting")
        return Seen(trade, self._paid(found) if trade == "paid" else None)

    async def close(self, reference: str) -> None:
        """Closes the order. Raises ProviderRefused with the code ORDERPAID where it is paid already."""
        place = f"/v3/pay/transactions/out-trade-no/{quote(reference, safe='')}/close"
        try:
            await self._ask("POST", place, {"mchid": self._merchant.merchant_id})
        except ProviderRefused as refused:
            if refused.code not in ("ORDER_NOT_EXIST", "RESOURCE_NOT_EXISTS", "ORDER_CLOSED"):
                raise

    async def refund(self, paid: Paid, refund_reference: str, amount: Decimal, reason: str) -> str:
        """Gives back part or all; it reaches the payer later."""
        digits = minor_digits(paid.currency)
        body = {
            "transaction_id": paid.provider_id,
            "out_refund_no": refund_reference,
            "reason": reason[:80],
            "amount": {
                "refund": to_minor(amount, digits),
                "total": to_minor(paid.amount, digits),
                "currency": paid.currency,
            },
        }
        return str((await self._ask("POST", "/v3/refund/domestic/refunds", body))["refund_id"])

    async def statement(self, day: date) -> tuple[Move, ...] | None:
        """The trade bill of a day, made at about ten in the morning after it; its file is proved by its SHA-1."""
        try:
            found = await self._ask("GET", f"/v3/bill/tradebill?bill_date={day.isoformat()}&bill_type=ALL")
        except ProviderRefused as refused:
            if refused.code == "NO_STATEMENT_EXIST":
                return None
            if refused.code == "STATEMENT_CREATING":
                raise ProviderUnavailable("statement-not-made", "WeChat Pay is making it") from None
            raise
        content = await self._download(_address(found, "download_url"))
        if found.get("hash_type") != "SHA1" or hashlib.sha1(content, usedforsecurity=False).hexdigest() != found.get(
            "hash_value"
        ):
            raise ProviderUnavailable("statement-unreadable", "the file is not the one that was promised")
        # In a thread: whatever else the worker does goes on meanwhile.
        return await asyncio.to_thread(wechat_moves, content)

    def read_callback(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        """Verifies and decrypts what WeChat sent."""
        if not self._signed(headers, body, int(now.timestamp())):
            raise BadCallback("bad-signature", "not signed by WeChat Pay")
        try:
            told = json.loads(body)
            resource = told["resource"]
            if told["event_type"] != "TRANSACTION.SUCCESS":
                return Callback(str(told["id"]), None)
            if resource["algorithm"] != _ALGORITHM:
                raise BadCallback("bad-callback", f"expected {_ALGORITHM}")
            found = json.loads(_opened(self._merchant.api_v3_key, resource))
            mine = (found["mchid"], found["appid"]) == (self._merchant.merchant_id, self._merchant.app_id)
            if not mine or found["trade_state"] != "SUCCESS":
                raise BadCallback("bad-callback", "it is about somebody else, or about nothing that was paid")
            return Callback(str(told["id"]), self._paid(found))
        except (ValueError, KeyError, TypeError, ProviderUnavailable) as error:
            raise BadCallback("bad-callback", f"not what WeChat Pay sends: {type(error).__name__}") from None

    def callback_answer(self) -> tuple[str, str]:
        """Any answer with status 200 will do."""
        return '{"code":"SUCCESS","message":""}', "application/json"

    async def _ask(self, method: str, place: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = "" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        answer = await self._send(method, httpx.URL(self._merchant.base_url + place), content)
        if answer.is_success and not self._signed(answer.headers, answer.content, int(time.time())):
            raise ProviderUnavailable("wechat-unsigned", f"{place}: an answer that WeChat Pay has not signed")
        return _content(place, answer)

    async def _download(self, address: str) -> bytes:
        """A file, at the address that a signed answer named; the file itself is not signed."""
        try:
            place = httpx.URL(address)
        except httpx.InvalidURL:
            raise ProviderUnavailable("wechat-unreadable", "a file without an address") from None
        return await download(self._client, "wechat", place, self._headers("GET", place, ""))

    async def _send(self, method: str, address: httpx.URL, content: str) -> httpx.Response:
        body = content.encode() if content else None
        try:
            return await self._client.request(
                method, address, content=body, headers=self._headers(method, address, content)
            )
        except httpx.HTTPError as error:
            raise ProviderUnavailable("wechat-unavailable", f"{address.path}: {type(error).__name__}") from error

    def _headers(self, method: str, address: httpx.URL, content: str) -> dict[str, str]:
        return {
            "Authorization": self._authorization(method, address.raw_path.decode("ascii"), content),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "gatemeter",
        }

    def _authorization(self, method: str, place: str, content: str) -> str:
        merchant, moment, nonce = self._merchant, str(int(time.time())), secrets.token_hex(16)
        signature = sign(merchant.private_key, f"{method}\n{place}\n{moment}\n{nonce}\n{content}\n")
        return (
            f'{_SCHEMA} mchid="{merchant.merchant_id}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{moment}",serial_no="{merchant.certificate_serial}"'
        )

    def _signed(self, headers: Mapping[str, str], body: bytes, now: int) -> bool:
        """Whether WeChat Pay signed it just now with a key that we know."""
        moment, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
        key = self._merchant.platform_keys.get(headers.get("wechatpay-serial", ""))
        if key is None or not moment.isascii() or not moment.isdigit() or abs(now - int(moment)) > _LATE_S:
            return False
        message = f"{moment}\n{nonce}\n".encode() + body + b"\n"
        return verified(key, message, headers.get("wechatpay-signature", ""))

    def _paid(self, found: Mapping[str, Any]) -> Paid:
        """What was paid. Raises ProviderUnavailable where the answer does not say so."""
        try:
            amount = found["amount"]
            total, currency = amount["total"], str(amount.get("currency", "CNY"))
            if type(total) is not int:
                raise TypeError("expected a whole number as the amount")
            return Paid(
                reference=str(found["out_trade_no"]),
                provider_id=str(found["transaction_id"]),
                amount=from_minor(total, minor_digits(currency)),
                currency=currency,
                paid_at=datetime.fromisoformat(found["success_time"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProviderUnavailable("wechat-unreadable", f"expected a paid order: {type(error).__name__}") from None


def _address(found: Mapping[str, Any], name: str) -> str:
    """Where one pays. Raises ProviderUnavailable where the answer does not say so."""
    address = found.get(name)
    if not isinstance(address, str) or not address:
        raise ProviderUnavailable("wechat-unreadable", f"an order without {name}")
    return address


def _content(place: str, answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success and not answer.content:
        return {}
    if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise ProviderUnavailable("wechat-unavailable", f"{place}: status {answer.status_code}")
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProviderUnavailable("wechat-unreadable", f"{place}: status {answer.status_code}")
    if answer.is_success:
        return found
    code, message = str(found.get("code", "")), str(found.get("message", ""))[:200]
    if not code:
        raise ProviderUnavailable("wechat-unreadable", f"{place}: status {answer.status_code}")
    raise ProviderRefused(code, message)


def _opened(key: bytes, resource: Mapping[str, Any]) -> bytes:
    """What the resource of a callback says. Raises BadCallback."""
    try:
        return AESGCM(key).decrypt(
            str(resource["nonce"]).encode(),
            base64.b64decode(str(resource["ciphertext"]), validate=True),
            str(resource.get("associated_data", "")).encode(),
        )
    except InvalidTag:
        raise BadCallback("bad-callback", "it was not sealed with our key") from None
