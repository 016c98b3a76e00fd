"""A peer of WeChat Pay API v3: verifies requests, signs answers, seals and signs callbacks, after its documents.

It shares no code with the adapter it is a peer of. Its clock is whoever makes it's.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulators.payments.statements import wechat_statement

_AUTHORIZATION: Final = re.compile(r'(\w+)="([^"]*)"')
_SCHEMA: Final = "WECHATPAY2-SHA256-RSA2048 "
_REFERENCE: Final = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
_CLOCK_S: Final = 300
_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_DAY: Final = timedelta(days=1)


class Refused(Exception):
    """An answer that says no."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message


@dataclass
class Trade:
    """An order at the provider; amounts in fen."""

    reference: str
    total: int
    currency: str
    description: str
    expires_at: datetime
    notify_url: str
    state: str = "NOTPAY"
    transaction_id: str | None = None
    paid_at: datetime | None = None
    refunds: dict[str, int] = field(default_factory=dict)
    refunded_at: dict[str, datetime] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


@dataclass
class WechatPeer:
    """The provider. `merchant_key`: what we registered there; `platform_key`: what it signs with, under `key_id`.

    Statements are made by its clock and `made_ahead`: whoever tests does not wait for the morning.
    """

    merchant_id: str
    app_id: str
    certificate_serial: str
    merchant_key: RSAPublicKey
    platform_key: RSAPrivateKey
    key_id: str
    api_v3_key: bytes
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    trades: dict[str, Trade] = field(default_factory=dict)
    nonces: set[str] = field(default_factory=set)
    statements: dict[str, bytes] = field(default_factory=dict)
    made_ahead: timedelta = timedelta()
    down: bool = False

    def app(self) -> Starlette:
        """Its addresses under /v3."""
        order = "/v3/pay/transactions/out-trade-no/{reference}"
        return Starlette(
            routes=[
                Route("/v3/pay/transactions/native", self._answering(self._native), methods=["POST"]),
                Route("/v3/pay/transactions/h5", self._answering(self._h5), methods=["POST"]),
                Route(order, self._answering(self._query), methods=["GET"]),
                Route(f"{order}/close", self._answering(self._close), methods=["POST"]),
                Route("/v3/refund/domestic/refunds", self._answering(self._refund), methods=["POST"]),
                Route("/v3/bill/tradebill", self._answering(self._statement), methods=["GET"]),
                Route("/v3/billdownload/file", self._file, methods=["GET"]),
            ]
        )

    def pay(self, reference: str) -> Trade:
        """Somebody scans the code and pays. Raises Refused when it is too late or done."""
        trade = self.trades[reference]
        if trade.state != "NOTPAY" or self.clock() > trade.expires_at:
            raise Refused(400, "ORDER_CLOSED" if trade.state != "SUCCESS" else "ORDERPAID")
        trade.state, trade.paid_at = "SUCCESS", self.clock()
        trade.transaction_id = f"42000{len(self.trades):05}{secrets.randbelow(10**18):018}"
        return trade

    def callback(self, trade: Trade, event_id: str | None = None, **changed: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of the notice that a trade was paid; `changed` members say something else."""
        nonce = secrets.token_hex(6)
        sealed = AESGCM(self.api_v3_key).encrypt(
            nonce.encode(), json.dumps(self._told(trade) | changed).encode(), b"transaction"
        )
        body = json.dumps(
            {
                "id": event_id or secrets.token_hex(16),
                "create_time": self.clock().isoformat(timespec="seconds"),
                "resource_type": "encrypt-resource",
                "event_type": "TRANSACTION.SUCCESS",
                "summary": "支付成功",
                "resource": {
                    "original_type": "transaction",
                    "algorithm": "AEAD_AES_256_GCM",
                    "ciphertext": base64.b64encode(sealed).decode(),
                    "associated_data": "transaction",
                    "nonce": nonce,
                },
            },
            ensure_ascii=False,
        ).encode()
        return self._signed(body) | {"Content-Type": "application/json"}, body

    async def call_back(self, client: httpx.AsyncClient, trade: Trade, event_id: str | None = None) -> int:
        """Sends the notice to where the order said, and returns the status that was answered."""
        headers, body = self.callback(trade, event_id)
        return (await client.post(trade.notify_url, content=body, headers=headers)).status_code

    def _answering(self, act: Callable[[Request, dict[str, Any]], dict[str, Any] | None]) -> Any:
        async def answer(request: Request) -> Response:
            if self.down:
                return Response(status_code=502)
            raw = await request.body()
            try:
                self._check(request, raw)
                made = act(request, json.loads(raw) if raw else {})
            except Refused as refused:
                status, made = refused.status, {"code": refused.code, "message": refused.message}
            else:
                status = 200 if made is not None else 204
            body = b"" if made is None else json.dumps(made, ensure_ascii=False).encode()
            return Response(body, status, self._signed(body) | {"Content-Type": "application/json"})

        return answer

    def _check(self, request: Request, raw: bytes) -> None:
        """Whether the merchant signed exactly this just now, for the first time."""
        given = request.headers.get("authorization", "")
        parts = dict(_AUTHORIZATION.findall(given))
        wanted = (self.merchant_id, self.certificate_serial)
        if not given.startswith(_SCHEMA) or (parts.get("mchid"), parts.get("serial_no")) != wanted:
            raise Refused(401, "SIGN_ERROR", "unknown merchant")
        moment, nonce = parts["timestamp"], parts["nonce_str"]
        if abs(self.clock().timestamp() - int(moment)) > _CLOCK_S or nonce in self.nonces:
            raise Refused(401, "SIGN_ERROR", "too late, or a repetition")
        self.nonces.add(nonce)
        place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        message = f"{request.method}\n{place}\n{moment}\n{nonce}\n".encode() + raw + b"\n"
        try:
            self.merchant_key.verify(base64.b64decode(parts["signature"]), message, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Refused(401, "SIGN_ERROR", "the signature is wrong") from None

    def _signed(self, body: bytes) -> dict[str, str]:
        moment, nonce = str(int(self.clock().timestamp())), secrets.token_hex(16)
        message = f"{moment}\n{nonce}\n".encode() + body + b"\n"
        signature = self.platform_key.sign(message, PKCS1v15(), hashes.SHA256())
        return {
            "Wechatpay-Serial": self.key_id,
            "Wechatpay-Timestamp": moment,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": base64.b64encode(signature).decode(),
        }

    def _native(self, _: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"code_url": f"weixin://wxpay/bizpayurl?pr={self._made(body).reference[-9:]}"}

    def _h5(self, _: Request, body: dict[str, Any]) -> dict[str, Any]:
        scene = body.get("scene_info", {})
        if not scene.get("payer_client_ip") or scene.get("h5_info", {}).get("type") not in ("Wap", "iOS", "Android"):
            raise Refused(400, "PARAM_ERROR", "scene_info")
        prepay = self._made(body).reference
        return {"h5_url": f"https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id={prepay}&package=1"}

    def _made(self, body: dict[str, Any]) -> Trade:
        total, reference = body["amount"]["total"], body["out_trade_no"]
        if (body["mchid"], body["appid"]) != (self.merchant_id, self.app_id) or not _REFERENCE.fullmatch(reference):
            raise Refused(400, "PARAM_ERROR", "mchid, appid or out_trade_no")
        if type(total) is not int or total < 1 or not body["description"] or not body["notify_url"]:
            raise Refused(400, "PARAM_ERROR", "amount, description or notify_url")
        known = self.trades.get(reference)
        if known is not None and (known.total, known.state) != (total, "NOTPAY"):
            raise Refused(400, "ORDERPAID" if known.state == "SUCCESS" else "INVALID_REQUEST")
        ends = datetime.fromisoformat(body["time_expire"])
        if ends - self.clock() < timedelta(minutes=1):
            raise Refused(400, "PARAM_ERROR", "time_expire")
        currency = body["amount"].get("currency", "CNY")
        trade = known or Trade(reference, total, currency, body["description"], ends, body["notify_url"])
        return self.trades.setdefault(reference, trade)

    def _query(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        if request.query_params.get("mchid") != self.merchant_id:
            raise Refused(400, "PARAM_ERROR", "mchid")
        return self._told(self._known(request))

    def _close(self, request: Request, body: dict[str, Any]) -> None:
        trade = self._known(request)
        if body.get("mchid") != self.merchant_id:
            raise Refused(400, "PARAM_ERROR", "mchid")
        if trade.state == "SUCCESS":
            raise Refused(400, "ORDERPAID")
        trade.state = "CLOSED"

    def _refund(self, _: Request, body: dict[str, Any]) -> dict[str, Any]:
        trade = next((one for one in self.trades.values() if one.transaction_id == body["transaction_id"]), None)
        if trade is None:
            raise Refused(404, "RESOURCE_NOT_EXISTS")
        amount, number = body["amount"], body["out_refund_no"]
        others = sum(part for key, part in trade.refunds.items() if key != number)
        if amount["total"] != trade.total or others + amount["refund"] > trade.total:
            raise Refused(400, "INVALID_REQUEST", "more than was paid")
        trade.refunds[number] = amount["refund"]
        trade.refunded_at.setdefault(number, self.clock())
        trade.state = "REFUND"
        return {"refund_id": f"50{number[-20:]}", "out_refund_no": number, "status": "PROCESSING"}

    def _statement(self, request: Request, _: dict[str, Any]) -> dict[str, Any]:
        """Where the bill of a day can be fetched; there is none before ten in the morning after it."""
        day = date.fromisoformat(request.query_params["bill_date"])
        if self.clock() + self.made_ahead < datetime(day.year, day.month, day.day, 10, tzinfo=_SHANGHAI) + _DAY:
            raise Refused(400, "STATEMENT_CREATING")
        content = wechat_statement(self.trades.values(), day, self.app_id, self.merchant_id)
        if content is None:
            raise Refused(400, "NO_STATEMENT_EXIST")
        token = secrets.token_urlsafe(16)
        self.statements[token] = content
        return {
            "hash_type": "SHA1",
            "hash_value": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            "download_url": f"{request.base_url}v3/billdownload/file?token={token}",
        }

    async def _file(self, request: Request) -> Response:
        """A bill, for the merchant alone; nothing signs it."""
        try:
            self._check(request, b"")
        except Refused as refused:
            return Response(status_code=refused.status)
        content = self.statements.get(request.query_params.get("token", ""))
        return Response(status_code=404) if content is None else Response(content, media_type="text/plain")

    def _known(self, request: Request) -> Trade:
        trade = self.trades.get(request.path_params["reference"])
        if trade is None:
            raise Refused(404, "ORDER_NOT_EXIST")
        return trade

    def _told(self, trade: Trade) -> dict[str, Any]:
        told: dict[str, Any] = {
            "appid": self.app_id,
            "mchid": self.merchant_id,
            "out_trade_no": trade.reference,
            "trade_type": "NATIVE",
            "trade_state": trade.state,
            "trade_state_desc": trade.state,
            "amount": {"total": trade.total, "currency": trade.currency},
        }
        if trade.paid_at is not None:
            told["transaction_id"] = trade.transaction_id
            told["success_time"] = trade.paid_at.isoformat(timespec="seconds")
            told["amount"] |= {"payer_total": trade.total, "payer_currency": trade.currency}
        return told
