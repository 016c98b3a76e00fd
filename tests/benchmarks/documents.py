"""Bills written as PDF per second, warm and as an archive writes them; the same bill gives the same bytes."""

import asyncio
import resource
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from cloud.billing.documents.model import BillDocument, Block, Fact, Pay, Sum
from cloud.billing.documents.pdf import as_pdf, typeset
from tests.benchmarks.measure import Bound

_BILLS: Final = 100
_SERVICES: Final = (("电费", "kWh"), ("水费", "m³"), ("物业费", "m²"))


def run() -> list[Bound]:
    """A household's monthly bill in Chinese: three services, seven lines, the notes and the code to pay by."""
    first = _bill(0)
    if typeset(first) != typeset(first):
        raise AssertionError("the same bill gave other bytes")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = perf_counter()
    asyncio.run(_write())
    rate = _BILLS / (perf_counter() - started)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return [
        Bound("bills written as PDF, warm", rate, "bills/s", 10, at_least=True),
        Bound(f"memory grown over {_BILLS} PDFs", grown, "MB", 200),
    ]


async def _write() -> None:
    await asyncio.gather(*(as_pdf(_bill(number)) for number in range(1, _BILLS + 1)))


def _bill(number: int) -> BillDocument:
    name = f"2026-{number:06}"
    block = Block(
        title="",
        period="2026年1月",
        readings=f"表计 E{number} · 读数 {5100 + number}.000 kWh (2026/2/1 00:00) − 5,000.000 kWh (2026/1/1 00:00)",
        lines=(("用电 · 第 1 档", f"{100 + number} kWh", "× 0.4883", f"¥{number}.83"),) * 2,
        subtotal=Sum("小计", f"¥{number}.83"),
        notes=(
            "价格方案第 1 版，自 2026年1月1日 起执行",
            "第 1 档至 2,880 kWh（含）：此前 0，本期 100; 第 2 档至 4,800 kWh（含）：此前 0，本期 0",
            "阶梯累计周期 2026年1月1日 – 2026年12月31日：此前已用 0 kWh，含本期共 100 kWh",
            "按阶梯周期累计取整，使周期内各期账单之和等于精确金额",
        ),
    )
    return BillDocument(
        language="zh-CN",
        file_name=name,
        made_at=datetime(2026, 2, 1, tzinfo=UTC),
        title="2026年1月账单",
        watermark="",
        project="阳光花园",
        address="北京市朝阳区建国路1号",
        facts=tuple(Fact(what, f"{name} {what}") for what in ("账单编号", "户号", "付款人", "单元", "账期", "到期日")),
        columns=("项目", "数量", "单价", "金额"),
        blocks=tuple(replace(block, title=f"{service} ({unit})") for service, unit in _SERVICES),
        sums=(Sum("合计", f"¥{number}.16", strong=True),),
        pay=Pay("缴费方式", ("扫描二维码登录后缴费。",), f"https://pay.example.com/my/bills/{number}"),
        footer=f"阳光花园 · {name}",
    )
