"""REST: a bill as a document, and all bills of a run as one file."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as Scoped

from cloud.billing import service
from cloud.billing.documents.html import as_html
from cloud.billing.documents.model import BillDocument, Language
from cloud.billing.documents.pdf import as_pdf
from cloud.billing.documents.service import bill_document
from cloud.billing.runs import archives
from cloud.billing.runs.archive_repository import Archive
from cloud.identity.guards import Scope, allow
from cloud.kit import i18n
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Input
from cloud.kit.pages import translator_of
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Runner = Annotated[Scope, allow("bills.run")]

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
            "text/html": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ArchiveIn(Input):
    """The language of the documents."""

    language: Annotated[Language, Field(examples=["zh-CN"])]


class ArchiveOut(BaseModel):
    """All bills of a run as one ZIP; `file` once it is whole."""

    id: int
    run_id: int
    language: Language
    job_id: int | None
    bills: int
    bytes: int
    created_at: datetime
    finished_at: datetime | None
    file: Annotated[str | None, Field(examples=["/api/v1/bill-archives/3/file"])]

    @classmethod
    def of(cls, found: Archive) -> "ArchiveOut":
        """From our records."""
        return cls(
            id=found.id,
            run_id=found.run_id,
            language=found.language,
            job_id=found.job_id,
            bills=found.bills,
            bytes=found.bytes,
            created_at=found.created_at,
            finished_at=found.finished_at,
            file=None if found.finished_at is None else f"/api/v1/bill-archives/{found.id}/file",
        )


class ArchivesOut(BaseModel):
    """The files of a run."""

    items: list[ArchiveOut]


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
    return _Typeset(found, headers)


@router.post("/bill-runs/{run_id}/archives", status_code=202)
async def ask_for_archive(
    request: Request, run_id: Id, body: ArchiveIn, response: Response, scope: Runner, once: Once
) -> ArchiveOut:
    """Has all bills of a run written as one ZIP of PDFs, by the job that `Location` leads to."""

    async def make() -> ArchiveOut:
        url = request.app.state.settings.public_url
        return ArchiveOut.of(
            await archives.ask_for_archive(scope.conn, run_id, body.language, url, scope.caller.user_id)
        )

    asked = await once.answer(scope.conn, ArchiveOut, make)
    response.headers["Location"] = f"/api/v1/jobs/{asked.job_id}"
    return asked


@router.get("/bill-runs/{run_id}/archives")
async def list_archives(scope: Runner, run_id: Id) -> ArchivesOut:
    """The files of a run, one per language at most; they are kept for two weeks."""
    await service.get_run(scope.conn, run_id)
    return ArchivesOut(items=[ArchiveOut.of(one) for one in await archives.archives_of(scope.conn, run_id)])


@router.get("/bill-archives/{archive_id}/file", response_class=Response, responses=_FILE)
async def archive_file(request: Request, scope: Runner, archive_id: Id) -> StreamingResponse:
    """The ZIP, part by part; 409 while it is still written."""
    found = await archives.get_archive(scope.conn, archive_id)
    archives.must_be_whole(found)
    connect = partial(request.app.state.db.transaction, scope.caller.asker(scope.request_id))
    return StreamingResponse(
        archives.parts(connect, archive_id),
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="bills-run-{found.run_id}-{found.language}.zip"',
            "Cache-Control": "private, no-store",
        },
    )


class _Typeset(Response):
    """A PDF that is written when it is sent: the transaction of the request has ended by then.

    Many who wait for the typesetter must not keep the connections of those who only want a page.
    """

    def __init__(self, document: BillDocument, headers: dict[str, str]) -> None:
        super().__init__(media_type="application/pdf", headers=headers)
        self._document = document

    async def __call__(self, scope: Scoped, receive: Receive, send: Send) -> None:
        content = await as_pdf(self._document)
        self.headers["Content-Length"] = str(len(content))
        self.body = content
        await super().__call__(scope, receive, send)


def _language(request: Request, scope: Scope, wanted: Language | None) -> tuple[Language, i18n.Translator]:
    if wanted is None:
        translator = translator_of(request, scope.caller)
        return ("zh-CN" if translator.locale.language == "zh" else "en"), translator
    return wanted, i18n.translator(request.app.state.catalogues, wanted)
