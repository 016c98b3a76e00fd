"""Documents as HTML that needs nothing else: styles at their elements, pictures inside, no script; fit for e-mail."""

from functools import cache

from jinja2 import Template

from cloud.billing.documents.model import BillDocument
from cloud.billing.documents.payment_code import as_png_uri
from cloud.kit.templates import template_beside


def as_html(document: BillDocument, code_at: str | None = None) -> str:
    """The document as one HTML text. `code_at`: where the picture of the code to pay by is, if not inside it."""
    address = document.pay.address if document.pay else None
    code = (code_at or as_png_uri(address)) if address else None
    return _template().render(bill=document, code=code)


@cache
def _template() -> Template:
    return template_beside(__file__, "bill.html")
