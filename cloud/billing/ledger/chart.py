"""Our ledger accounts, and the numbers and names that accounting software knows them by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Class = Literal["asset", "liability", "income", "expense", "other"]


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """An account of the accounting software: number and name."""

    code: str
    name: str


# Numbers and names of the list of accounts in 企业会计准则应用指南 (annex). The longest beginning wins.
DEFAULTS: Final[Mapping[str, ExternalAccount]] = {
    "receivable": ExternalAccount("1122", "应收账款"),
    "cash": ExternalAccount("1002", "银行存款"),
    "cash:cash": ExternalAccount("1001", "库存现金"),
    "cash:wechat": ExternalAccount("1012", "其他货币资金"),
    "cash:alipay": ExternalAccount("1012", "其他货币资金"),
    "liability:prepaid": ExternalAccount("2203", "预收账款"),
    "liability:deposit": ExternalAccount("2241", "其他应付款"),
    "liability:refund": ExternalAccount("2241", "其他应付款"),
    "tax": ExternalAccount("2221", "应交税费"),
    "revenue": ExternalAccount("6001", "主营业务收入"),
    "revenue:late_fee": ExternalAccount("6301", "营业外收入"),
    "revenue:unclaimed": ExternalAccount("6301", "营业外收入"),
    "expense": ExternalAccount("6602", "管理费用"),
}
_CLASSES: Final[Mapping[str, Class]] = {
    "receivable": "asset",
    "cash": "asset",
    "liability": "liability",
    "tax": "liability",
    "revenue": "income",
    "expense": "expense",
}


def class_of(code: str) -> Class:
    """What kind of account one of ours is, by the word before its first colon."""
    return _CLASSES.get(code.partition(":")[0], "other")


def beginnings(code: str) -> list[str]:
    """The code and what it begins with, longest first: revenue:water:sewage, revenue:water, revenue."""
    parts = code.split(":")
    return [":".join(parts[:length]) for length in range(len(parts), 0, -1)]


def external(code: str, own: Mapping[str, ExternalAccount]) -> ExternalAccount | None:
    """The account of the software for one of ours; None where neither the project nor the defaults know one.

    What the project set for a code or its beginning goes before any default, however exact.
    """
    for known in (own, DEFAULTS):
        for beginning in beginnings(code):
            if beginning in known:
                return known[beginning]
    return None
