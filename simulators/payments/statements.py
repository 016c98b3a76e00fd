"""The files in which providers tell what moved on a day, in the forms that their documents give.

WeChat Pay: one text, every value behind a grave accent, totals at the end. Alipay: a ZIP of two CSV files in GBK, with
comments around the rows.
"""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Protocol
from zoneinfo import ZoneInfo

_SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
_MOMENT: Final = "%Y-%m-%d %H:%M:%S"
_WECHAT_COLUMNS: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
    "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
_WECHAT_TOTALS: Final = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_ALIPAY_COLUMNS: Final = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
    "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_RULE: Final = "#" + "-" * 41


class WechatTrade(Protocol):
    """What a statement of WeChat Pay tells of a trade; amounts in fen."""

    reference: str
    total: int
    currency: str
    description: str
    transaction_id: str | None
    paid_at: datetime | None
    refunds: dict[str, int]
    refunded_at: dict[str, datetime]
    failed: set[str]


class AlipayTrade(Protocol):
    """What a statement of Alipay tells of a trade."""

    reference: str
    amount: Decimal
    subject: str
    trade_no: str
    paid_at: datetime | None
    refunds: dict[str, Decimal]
    refunded_at: dict[str, datetime]


def wechat_statement(trades: Iterable[WechatTrade], day: date, app_id: str, merchant_id: str) -> bytes | None:
    """All payments and refunds of a day of Shanghai; None where nothing moved."""
    rows: list[Mapping[str, str]] = []
    for one in trades:
        head = {
            "公众账号ID": app_id, "商户号": merchant_id, "特约商户号": "0", "微信订单号": one.transaction_id or "",
            "商户订单号": one.reference, "用户标识": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "交易类型": "NATIVE",
            "付款银行": "OTHERS", "货币种类": one.currency, "商品名称": one.description, "费率": "0.60%",
        }  # fmt: skip
        if one.paid_at is not None and _on(one.paid_at, day):
            rows.append(
                head
                | {"交易时间": _moment(one.paid_at), "交易状态": "SUCCESS", "应结订单金额": _yuan(one.total)}
                | {"订单金额": _yuan(one.total), "微信退款单号": "0", "商户退款单号": "0", "手续费": "0.01000"}
            )
        for number, amount in one.refunds.items():
            if _on(one.refunded_at[number], day):
                rows.append(
                    head
                    | {"交易时间": _moment(one.refunded_at[number]), "交易状态": "REFUND", "退款类型": "ORIGINAL"}
                    | {"退款状态": "FAIL" if number in one.failed else "SUCCESS", "商户退款单号": number}
                    | {"微信退款单号": f"50{number[-20:]}", "退款金额": _yuan(amount), "申请退款金额": _yuan(amount)}
                )
    if not rows:
        return None
    totals = {
        "总交易单数": str(len(rows)),
        "订单总金额": str(sum(Decimal(row.get("订单金额", "0")) for row in rows)),
        "申请退款总金额": str(sum(Decimal(row.get("申请退款金额", "0")) for row in rows)),
    }
    lines = [_WECHAT_COLUMNS, *(_line(_WECHAT_COLUMNS, row) for row in rows)]
    lines += [_WECHAT_TOTALS, _line(_WECHAT_TOTALS, totals)]
    return ("\ufeff" + "\r\n".join(lines) + "\r\n").encode()


def alipay_statement(trades: Iterable[AlipayTrade], day: date) -> bytes | None:
    """The archive of a day of Shanghai; None where nothing moved."""
    rows: list[Mapping[str, str]] = []
    for one in trades:
        head = {
            "支付宝交易号": one.trade_no,
            "商户订单号": one.reference,
            "商品名称": one.subject,
            "对方账户": "张*(***@example.com)",
        }
        if one.paid_at is not None and _on(one.paid_at, day):
            rows.append(
                head
                | {"业务类型": "交易", "创建时间": _moment(one.paid_at), "完成时间": _moment(one.paid_at)}
                | {"订单金额（元）": f"{one.amount:.2f}"}
            )
        for number, amount in one.refunds.items():
            if _on(one.refunded_at[number], day):
                moment = _moment(one.refunded_at[number])
                rows.append(
                    head
                    | {"业务类型": "退款", "创建时间": moment, "完成时间": moment, "退款批次号/请求号": number}
                    | {"订单金额（元）": f"-{amount:.2f}"}
                )
    return _archive(rows, day) if rows else None


def _archive(rows: Sequence[Mapping[str, str]], day: date) -> bytes:
    names = _ALIPAY_COLUMNS.split(",")
    detail = [
        "#支付宝业务明细查询",
        "#账号：[20889010000000000156]",
        f"#起始日期：[{day:%Y年%m月%d日} 00:00:00]   终止日期：[{day:%Y年%m月%d日} 23:59:59]",
        f"{_RULE}业务明细列表{_RULE[1:]}",
        _ALIPAY_COLUMNS,
        *(",".join(f"{row.get(name, '')}\t" for name in names) for row in rows),
        f"{_RULE}业务明细列表结束{_RULE[1:]}",
        f"#导出时间：[{day:%Y年%m月%d日} 09:00:00]",
    ]
    summary = [
        "#支付宝业务汇总查询",
        "门店编号,门店名称,交易订单总笔数",
        f"合计\t,\t,{len(rows)}\t",
        "#业务汇总列表结束",
    ]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in (("业务明细(汇总)", summary), ("业务明细", detail)):
            archive.writestr(f"20889010000000000156_{day:%Y%m%d}_{name}.csv", "\r\n".join(lines).encode("gbk"))
    return made.getvalue()


def _line(columns: str, row: Mapping[str, str]) -> str:
    return ",".join(f"`{row.get(name, '0')}" for name in columns.split(","))


def _on(moment: datetime, day: date) -> bool:
    return moment.astimezone(_SHANGHAI).date() == day


def _moment(moment: datetime) -> str:
    return moment.astimezone(_SHANGHAI).strftime(_MOMENT)


def _yuan(fen: int) -> str:
    return f"{Decimal(fen) / 100:.2f}"
