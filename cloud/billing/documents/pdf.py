"""Documents as PDF: typeset by typst in threads of their own, from data alone.

The template is a file of this package. What people entered reaches it as JSON in `sys.inputs` and is only ever shown as
text: nothing of it is read as markup or code.
"""

import asyncio
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path

import typst

from cloud.billing.documents.model import BillDocument
from cloud.billing.documents.payment_code import as_svg
from cloud.kit.errors import Unavailable

TEMPLATE = Path(__file__).with_name("bill.typ")

THREADS = 2
"""Typst lets go of the interpreter while it works: more threads use more cores."""

_FAMILIES = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "Noto Serif CJK SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)
"""Fonts with Chinese, best first."""
NO_CHINESE_FONT = f"no font with Chinese (Debian: fonts-noto-cjk); looked for {', '.join(_FAMILIES)}"

_LATIN = "Libertinus Serif"
"""Brought by typst itself."""

# Chinese, Japanese and Korean letters and their punctuation, full-width forms, and the later ideographs.
_CJK = ((0x2E80, 0xA4CF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="typeset")
_mine = threading.local()


@cache
def installed() -> typst.Fonts:
    """The fonts of this machine, looked for once."""
    return typst.Fonts()


def chinese_font(families: Sequence[str]) -> str | None:
    """The best of the fonts that have Chinese, or None."""
    return next((family for family in _FAMILIES if family in families), None)


async def as_pdf(document: BillDocument) -> bytes:
    """The document as PDF; the event loop goes on meanwhile.

    Raises Unavailable when it has Chinese and no font of this machine does.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool, typeset, document)


def typeset(document: BillDocument, fonts: typst.Fonts | None = None) -> bytes:
    """The document as PDF, the same bytes every time. `fonts`: others than those of this machine.

    Raises Unavailable when it has Chinese and no font does.
    """
    fonts = fonts or installed()
    chinese = chinese_font(fonts.families())
    texts = asdict(document) | {"made_at": None}
    data = json.dumps(texts, ensure_ascii=False)
    if chinese is None and _has_cjk(data):
        raise Unavailable("no-chinese-font", NO_CHINESE_FONT)
    address = document.pay.address if document.pay else None
    inputs = {"data": data, "font": chinese or _LATIN, "code": as_svg(address) if address else ""}
    written = _compiler(fonts).compile(
        format="pdf", sys_inputs=inputs, timestamp=int(document.made_at.timestamp()), pdf_tags=True
    )
    assert isinstance(written, bytes)
    return written


def _compiler(fonts: typst.Fonts) -> typst.Compiler:
    """The compiler of this thread: it keeps the template and the fonts that it has read."""
    kept: tuple[typst.Fonts, typst.Compiler] | None = getattr(_mine, "compiler", None)
    if kept is None or kept[0] is not fonts:
        kept = fonts, typst.Compiler(TEMPLATE, root=TEMPLATE.parent, font_paths=fonts)
        _mine.compiler = kept
    return kept[1]


def _has_cjk(text: str) -> bool:
    return any(first <= ord(sign) <= last for sign in text for first, last in _CJK)
