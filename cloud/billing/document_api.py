"""REST: a bill as a document, and all bills of a run as one file."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import HTMLResponse

from cloud.billing.documents.html import as_html
from cloud.billing.documents.model import Language
from cloud.billing.documents.pdf import as_pdf
from cloud.billing.documents.service import bill_document
from cloud.identity.guards import Scope, allow
from cloud.kit import i18n
from cloud.kit.inputs import Id
from cloud.kit.pages import translator_of

router = APIRouter()

Reader = Annotated[Scope, allow("bills.read")]

_SEALED = "; ".join(
    (
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Whatever is in it, no browser runs it or loads anything for it."""

_DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document.",
        "content": {
            "application/pdf": {"schema": {"type": "string", "format": "binary"}},
            "text/html": {"schema": {"type": "string"}},
        },
    }
}


@router.get("/bills/{bill_id}/document", response_class=Response, responses=_DOCUMENT)
async def document(
    request: Request,
    scope: Reader,
    bill_id: Id,
    language: Annotated[Language | None, Query(description="That of the reader when none is named.")] = None,
    form: Annotated[Literal["pdf", "html"], Query(alias="format")] = "pdf",
) -> Response:
    """A bill to print, to keep or to send: PDF, or HTML that needs nothing else. The same bill is the same bytes."""
    language, translator = _language(request, scope, language)
    found = await bill_document(scope.conn, bill_id, language, translator, request.app.state.settings.public_url)
    headers = {
        "Content-Security-Policy": _SEALED,
        "Cache-Control": "private, no-store",
        "Content-Language": language,
        "Content-Disposition": f'{"inline" if form == "html" else "attachment"}; filename="{found.file_name}.{form}"',
    }
    if form == "html":
        return HTMLResponse(as_html(found), headers=headers)
    return Response(await as_pdf(found), media_type="application/pdf", headers=headers)


def _language(request: Request, scope: Scope, wanted: Language | None) -> tuple[Language, i18n.Translator]:
    if wanted is None:
        translator = translator_of(request, scope.caller)
        return ("zh-CN" if translator.locale.language == "zh" else "en"), translator
    return wanted, i18n.translator(request.app.state.catalogues, wanted)
