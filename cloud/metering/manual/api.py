"""REST: readings that people type in, readings that residents hand in, photos of registers."""

from typing import Annotated, Any, Final

from fastapi import Query
from starlette.responses import Response

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.metering import service
from cloud.metering.manual import photos, submissions
from cloud.metering.manual import service as manual
from cloud.metering.manual.models import (
    ManualReadingIn,
    ManualReadingOut,
    SubmissionDecisionIn,
    SubmissionIn,
    SubmissionOut,
    SubmissionQuery,
)
from cloud.metering.manual.pictures import picture
from cloud.metering.manual.submissions import HandedIn
from cloud.metering.models import QuantityOut, channel_number
from gateway.contract.quantities import BY_NUMBER

router = rest_router("metering")

Reading = Annotated[Scope, allow("readings.read")]
Writing = Annotated[Scope, allow("readings.write")]
HandingIn = Annotated[Scope, allow("readings.submit")]

_PICTURES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in photos.CONTENT_TYPES},
        "description": "The picture.",
    }
}


@router.post("/meters/{meter_id}/readings", status_code=201)
async def enter_reading(meter_id: Id, body: ManualReadingIn, scope: Writing, once: Once) -> ManualReadingOut:
    """A reading that staff took.

    A value that does not fit between its neighbours is a question first (409 `backward` or `maximum`, with the
    neighbour and what was expected): the same with `confirm` and a `reason` is stored, and usage believes it. Another
    value for the same instant is refused, the way to it is an edit.
    """

    async def make() -> ManualReadingOut:
        actor = scope.caller.actor
        meter = await service.get_meter(scope.conn, meter_id)
        quantity = BY_NUMBER[channel_number(body.channel, meter)]
        looked = await manual.read_typed(scope.conn, meter_id, body.value, body.taken_at, body.unit, quantity)
        stored = await manual.enter(
            scope.conn, looked, actor, note=body.note, photo=body.photo, confirmed=body.confirmed(actor)
        )
        value = QuantityOut.of(stored.value, quantity)
        return ManualReadingOut(meter_id=meter_id, channel=quantity.code, taken_at=stored.taken_at, value=value)

    return await once.answer(scope.conn, ManualReadingOut, make)


@router.post("/meters/{meter_id}/reading-submissions", status_code=201)
async def hand_in(meter_id: Id, body: SubmissionIn, scope: HandingIn, once: Once) -> SubmissionOut:
    """A reading that a resident took of a meter of his home; it waits until staff look at it."""

    async def make() -> SubmissionOut:
        meter = await service.get_meter(scope.conn, meter_id)
        wanted = HandedIn(
            meter_id, body.value, body.taken_at, scope.caller.user_id, scope.caller.actor, body.unit,
            BY_NUMBER[channel_number(body.channel, meter)], body.note, body.photo,
        )  # fmt: skip
        return SubmissionOut.of(await submissions.hand_in(scope.conn, wanted))

    return await once.answer(scope.conn, SubmissionOut, make)


@router.get("/reading-submissions")
async def list_submissions(scope: Reading, query: Annotated[SubmissionQuery, Query()]) -> Listed[SubmissionOut]:
    """Readings that residents handed in, the latest first: those of your projects, or of your home."""
    page = await submissions.list_submissions(scope.conn, query.page(), query.wanted())
    return Listed(items=[SubmissionOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/reading-submissions/{submission_id}")
async def get_submission(scope: Reading, submission_id: Id) -> SubmissionOut:
    """One of them."""
    return SubmissionOut.of(await submissions.get_submission(scope.conn, submission_id))


@router.post("/reading-submissions/{submission_id}/decisions", status_code=201)
async def decide(submission_id: Id, body: SubmissionDecisionIn, scope: Writing, once: Once) -> SubmissionOut:
    """Accepts a submission (with another `value`, where it was misread) or rejects it with a reason.

    Accepting stores the reading just as staff type one in, questions included.
    """

    async def make() -> SubmissionOut:
        actor = scope.caller.actor
        if body.decision == "reject":
            return SubmissionOut.of(await submissions.reject(scope.conn, submission_id, actor, body.reason))
        accepted = await submissions.accept(
            scope.conn, submission_id, actor, text=body.value or "", reason=body.reason, confirmed=body.confirm
        )
        return SubmissionOut.of(accepted)

    return await once.answer(scope.conn, SubmissionOut, make)


@router.get("/reading-photos/{photo_id}", response_class=Response, responses=_PICTURES)
async def photo(scope: Reading, photo_id: Id) -> Response:
    """The picture of a register, for those who may see its reading."""
    return picture(await photos.get_photo(scope.conn, photo_id))
