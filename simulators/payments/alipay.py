"""A peer of Alipay's gateway: verifies what we sign (RSA2), signs answers and notices. Written from its documents.

It shares no code with the adapter it is a peer of.
"""

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulators.payments.statements import alipay_statement

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_MOMENT: Final = "%Y-%m-%d %H:%M:%S"
_LATEST_S: Final = 900


@dataclass
class Trade:
    """An order; `scanned`: only then has Alipay a trade that can be queried or closed."""

    reference: str
    amount: Decimal
    subject: str
    expires_at: datetime
    notify_url: str
    scanned: bool = False
    status: str = "WAIT_BUYER_PAY"
    trade_no: str = ""
    paid_at: datetime | None = None
    refunds: dict[str, Decimal] = field(default_factory=dict)
    refunded_at: dict[str, datetime] = field(default_factory=dict)


class _Failed(Exception):
    """A business failure (40004) with its sub-code."""


@dataclass
class AlipayPeer:
    """The gateway. `app_key`: what we registered there; `alipay_key`: what it signs with.

    Statements are made by its clock and `made_ahead`: whoever tests does not wait for the morning.
    """

    app_id: str
    app_key: RSAPublicKey
    alipay_key: RSAPrivateKey
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    trades: dict[str, Trade] = field(default_factory=dict)
    statements: dict[str, bytes] = field(default_factory=dict)
    made_ahead: timedelta = timedelta()
    down: bool = False

    def app(self) -> Starlette:
        """The one address that it is asked at, and the one of its files."""
        return Starlette(
            routes=[
                Route("/gateway.do", self._gateway, methods=["POST"]),
                Route("/downloadBillFile.resource", self._file, methods=["GET"]),
            ]
        )

    def scan(self, reference: str) -> Trade:
        """Somebody scans the code: the trade comes to be. Raises KeyError, ValueError when it is too late."""
        trade = self.trades[reference]
        if self.clock() > trade.expires_at or trade.status != "WAIT_BUYER_PAY":
            raise ValueError("the code is not valid any more")
        trade.scanned = True
        trade.trade_no = trade.trade_no or f"2026{secrets.randbelow(10**24):024}"
        return trade

    def pay(self, reference: str) -> Trade:
        """He scans and pays."""
        trade = self.scan(reference)
        trade.status, trade.paid_at = "TRADE_SUCCESS", self.clock()
        return trade

    def callback(self, trade: Trade, notify_id: str | None = None, **changed: str) -> bytes:
        """The form of the notice that a trade was paid; `changed` fields say something else, signed all the same."""
        assert trade.paid_at is not None
        told = {
            "notify_time": self._moment(self.clock()),
            "notify_type": "trade_status_sync",
            "notify_id": notify_id or secrets.token_hex(17),
            "app_id": self.app_id,
            "charset": "utf-8",
            "version": "1.0",
            "trade_no": trade.trade_no,
            "out_trade_no": trade.reference,
            "trade_status": trade.status,
            "total_amount": f"{trade.amount:.2f}",
            "receipt_amount": f"{trade.amount:.2f}",
            "subject": trade.subject,
            "body": "",
            "gmt_payment": self._moment(trade.paid_at),
        } | changed
        text = "&".join(f"{key}={value}" for key, value in sorted(told.items()) if value)
        return urlencode(told | {"sign_type": "RSA2", "sign": self._sign(text)}).encode()

    async def call_back(self, client: httpx.AsyncClient, trade: Trade, notify_id: str | None = None) -> str:
        """Sends the notice to where the order said, and returns what was answered."""
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return (await client.post(trade.notify_url, content=self.callback(trade, notify_id), headers=headers)).text

    async def _gateway(self, request: Request) -> Response:
        if self.down:
            return Response(status_code=502)
        form = {key: str(value) for key, value in (await request.form()).items()}
        name = form.get("method", "").replace(".", "_") + "_response"
        answer: dict[str, Any]
        if not self._genuine(form):
            answer = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-signature"}
        else:
            try:
                answer = {"code": "10000", "msg": "Success"} | self._act(form, str(request.base_url))
            except _Failed as failed:
                answer = {"code": "40004", "msg": "Business Failed", "sub_code": str(failed), "sub_msg": "不可以"}
        told = json.dumps(answer, ensure_ascii=False)
        return Response(f'{{"{name}":{told},"sign":"{self._sign(told)}"}}', media_type="text/html;charset=utf-8")

    def _genuine(self, form: Mapping[str, str]) -> bool:
        text = "&".join(f"{key}={form[key]}" for key in sorted(form) if key != "sign" and form[key])
        if form.get("app_id") != self.app_id or form.get("sign_type") != "RSA2":
            return False
        sent = datetime.strptime(form["timestamp"], _MOMENT).replace(tzinfo=_SHANGHAI)
        if abs((self.clock() - sent).total_seconds()) > _LATEST_S:
            return False
        try:
            self.app_key.verify(base64.b64decode(form["sign"]), text.encode(), PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def _act(self, form: Mapping[str, str], base_url: str) -> dict[str, Any]:
        content = json.loads(form["biz_content"])
        acts: dict[str, Callable[[], dict[str, Any]]] = {
            "alipay.trade.precreate": lambda: self._precreate(content, form.get("notify_url", "")),
            "alipay.trade.query": lambda: self._query(content),
            "alipay.trade.close": lambda: self._close(content),
            "alipay.trade.refund": lambda: self._refund(content),
            "alipay.data.dataservice.bill.downloadurl.query": lambda: self._statement(content, base_url),
        }
        return acts[form["method"]]()

    def _precreate(self, content: Mapping[str, str], notify_url: str) -> dict[str, Any]:
        reference, amount = content["out_trade_no"], Decimal(content["total_amount"])
        if amount <= 0 or amount != round(amount, 2) or not content["subject"] or not notify_url:
            raise _Failed("ACQ.INVALID_PARAMETER")
        known = self.trades.get(reference)
        if known is not None and (known.amount != amount or known.status != "WAIT_BUYER_PAY"):
            raise _Failed("ACQ.CONTEXT_INCONSISTENT")
        ends = datetime.strptime(content["time_expire"], _MOMENT).replace(tzinfo=_SHANGHAI)
        self.trades.setdefault(reference, Trade(reference, amount, content["subject"], ends, notify_url))
        return {"out_trade_no": reference, "qr_code": f"https://qr.alipay.com/bax{reference[-17:]}"}

    def _query(self, content: Mapping[str, str]) -> dict[str, Any]:
        trade = self._known(content)
        told: dict[str, Any] = {
            "out_trade_no": trade.reference,
            "trade_no": trade.trade_no,
            "trade_status": trade.status,
            "total_amount": f"{trade.amount:.2f}",
        }
        return told if trade.paid_at is None else told | {"send_pay_date": self._moment(trade.paid_at)}

    def _close(self, content: Mapping[str, str]) -> dict[str, Any]:
        trade = self._known(content)
        if trade.status != "WAIT_BUYER_PAY":
            raise _Failed("ACQ.TRADE_STATUS_ERROR")
        trade.status = "TRADE_CLOSED"
        return {"out_trade_no": trade.reference, "trade_no": trade.trade_no}

    def _refund(self, content: Mapping[str, str]) -> dict[str, Any]:
        trade = next((one for one in self.trades.values() if one.trade_no == content["trade_no"]), None)
        if trade is None or trade.paid_at is None:
            raise _Failed("ACQ.TRADE_NOT_EXIST")
        number, amount = content["out_request_no"], Decimal(content["refund_amount"])
        if sum(part for key, part in trade.refunds.items() if key != number) + amount > trade.amount:
            raise _Failed("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")
        fresh = number not in trade.refunds
        trade.refunds[number] = amount
        trade.refunded_at.setdefault(number, self.clock())
        return {"trade_no": trade.trade_no, "out_trade_no": trade.reference, "fund_change": "Y" if fresh else "N"}

    def _statement(self, content: Mapping[str, str], base_url: str) -> dict[str, Any]:
        """Where the bill of a day can be fetched; there is none before nine in the morning after it."""
        day = date.fromisoformat(content["bill_date"])
        ready = datetime(day.year, day.month, day.day, 9, tzinfo=_SHANGHAI) + timedelta(days=1)
        archive = alipay_statement(self.trades.values(), day) if self.clock() + self.made_ahead >= ready else None
        if content["bill_type"] != "trade" or archive is None:
            raise _Failed("isp.bill_not_exist")
        number = secrets.token_hex(16)
        self.statements[number] = archive
        return {"bill_download_url": f"{base_url}downloadBillFile.resource?bizType=trade&fileId={number}"}

    async def _file(self, request: Request) -> Response:
        archive = self.statements.get(request.query_params.get("fileId", ""))
        return Response(status_code=404) if archive is None else Response(archive, media_type="application/zip")

    def _known(self, content: Mapping[str, str]) -> Trade:
        trade = self.trades.get(content["out_trade_no"])
        if trade is None or not trade.scanned:
            raise _Failed("ACQ.TRADE_NOT_EXIST")
        return trade

    def _sign(self, text: str) -> str:
        return base64.b64encode(self.alipay_key.sign(text.encode(), PKCS1v15(), hashes.SHA256())).decode()

    def _moment(self, moment: datetime) -> str:
        return moment.astimezone(_SHANGHAI).strftime(_MOMENT)
