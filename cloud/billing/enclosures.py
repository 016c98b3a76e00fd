"""What the notice of a bill carries: the bill as HTML in place of the words, and as a PDF file."""

from cloud.billing.documents.html import as_html
from cloud.billing.documents.model import Language
from cloud.billing.documents.payment_code import as_png
from cloud.billing.documents.pdf import as_pdf
from cloud.billing.documents.service import bill_document
from cloud.kit.db import Asker, Database
from cloud.notices import service as notices
from cloud.notices.records import BILL, Attachment, Enclosure, Notice, Picture
from cloud.notices.sending import Encloser

_CODE = "code-to-pay"


async def enclose_bill(db: Database, asker: Asker, notice: Notice, public_url: str | None) -> Enclosure:
    """The bill that the notice tells of, as it is now, in the language of the notice. Raises NotFound, Unavailable."""
    assert notice.about_id is not None
    language: Language = "zh-CN" if notice.language.lower().startswith("zh") else "en"
    with notices.speaking(language) as translator:
        async with db.transaction(asker) as conn:
            document = await bill_document(conn, notice.about_id, language, translator, public_url)
    # Mail programs show no pictures that are written into the text: this one comes as a part of the message.
    address = document.pay.address if document.pay else None
    pictures = (Picture(_CODE, as_png(address)),) if address else ()
    pdf = Attachment(f"{document.file_name}.pdf", "application/pdf", await as_pdf(document))
    return Enclosure(as_html(document, f"cid:{_CODE}"), pictures, (pdf,))


ENCLOSERS: dict[str, Encloser] = {BILL: enclose_bill}
