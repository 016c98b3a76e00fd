"""REST: findings of the validation and what is decided about them, edits of readings, thresholds."""

from typing import Annotated

from fastapi import Path, Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.metering import service
from cloud.metering.edits import service as edits
from cloud.metering.edits.service import NewEdit
from cloud.metering.exceptions import service as exceptions
from cloud.metering.exceptions.models import (
    DecidedOut,
    DecisionIn,
    EditIn,
    EditOut,
    EditQuery,
    EditsQuery,
    ExceptionOut,
    ExceptionQuery,
    ReopeningIn,
    ThresholdIn,
    ThresholdOut,
    base_value,
)
from cloud.metering.models import channel_number
from cloud.metering.thresholds import overrides as threshold_overrides
from cloud.metering.thresholds.overrides import Override
from gateway.contract.quantities import BY_NUMBER

router = rest_router("metering")

Reading = Annotated[Scope, allow("readings.read")]
Writing = Annotated[Scope, allow("readings.write")]
Configuring = Annotated[Scope, allow("meters.write")]
MeterClass = Annotated[str, Path(max_length=64, examples=["water-residential"])]


@router.get("/meter-exceptions")
async def list_exceptions(scope: Reading, query: Annotated[ExceptionQuery, Query()]) -> Listed[ExceptionOut]:
    """Findings, newest first."""
    page = await exceptions.list_exceptions(scope.conn, query.page(), query.wanted())
    return Listed(items=[ExceptionOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/meter-exceptions/{exception_id}")
async def get_exception(scope: Reading, exception_id: Id) -> ExceptionOut:
    """One finding."""
    return ExceptionOut.of(await exceptions.get_exception(scope.conn, exception_id))


@router.post("/meter-exceptions/decisions", status_code=201)
async def decide(body: DecisionIn, scope: Writing, once: Once) -> DecidedOut:
    """Decides open findings, all or none; what it does to a reading is in docs/validation.md."""

    async def make() -> DecidedOut:
        value = None
        if body.value is not None:
            first = await exceptions.get_exception(scope.conn, body.ids[0])
            value = base_value(body.value, BY_NUMBER[first.channel])
        decided = await exceptions.decide(scope.conn, body.ids, body.decision, scope.caller.actor, body.reason, value)
        return DecidedOut(items=[ExceptionOut.of(one) for one in decided])

    return await once.answer(scope.conn, DecidedOut, make)


@router.post("/meter-exceptions/{exception_id}/reopenings", status_code=201)
async def reopen(exception_id: Id, body: ReopeningIn, scope: Writing, once: Once) -> ExceptionOut:
    """Takes a decision back, and the edit that it made."""

    async def make() -> ExceptionOut:
        actor = scope.caller.actor
        return ExceptionOut.of(await exceptions.reopen(scope.conn, exception_id, actor, body.reason))

    return await once.answer(scope.conn, ExceptionOut, make)


@router.get("/reading-edits")
async def list_all_edits(scope: Reading, query: Annotated[EditsQuery, Query()]) -> Listed[EditOut]:
    """What was decided about readings, the latest first."""
    page = await edits.list_edits(scope.conn, query.page(), query.wanted())
    return Listed(items=[EditOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/meters/{meter_id}/reading-edits")
async def list_edits(scope: Reading, meter_id: Id, query: Annotated[EditQuery, Query()]) -> Listed[EditOut]:
    """What was decided about readings of a meter, the latest first."""
    meter = await service.get_meter(scope.conn, meter_id)
    page = await edits.list_edits(scope.conn, query.page(), query.wanted(meter))
    return Listed(items=[EditOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/meters/{meter_id}/reading-edits", status_code=201)
async def edit(meter_id: Id, body: EditIn, scope: Writing, once: Once) -> EditOut:
    """Adds a version of what is decided about a reading; usage follows."""

    async def make() -> EditOut:
        meter = await service.get_meter(scope.conn, meter_id)
        channel = channel_number(body.channel, meter)
        value = None if body.value is None else base_value(body.value, BY_NUMBER[channel])
        actor = scope.caller.actor
        new = NewEdit(meter_id, channel, body.taken_at, body.action, body.reason, actor, value)
        return EditOut.of(await edits.add_edit(scope.conn, new))

    return await once.answer(scope.conn, EditOut, make)


@router.get("/projects/{project_id}/validation-thresholds")
async def list_thresholds(scope: Reading, project_id: Id) -> Listed[ThresholdOut]:
    """Every class of meters with its thresholds in a project."""
    found = await threshold_overrides.of_project(scope.conn, project_id)
    return Listed(items=[_threshold(one) for one in found], next_cursor=None)


@router.get("/meters/{meter_id}/validation-thresholds")
async def meter_thresholds(scope: Reading, meter_id: Id) -> ThresholdOut:
    """The thresholds of one meter."""
    return _threshold(await threshold_overrides.of_meter(scope.conn, meter_id))


@router.put("/projects/{project_id}/validation-thresholds/{meter_class}")
async def set_class_thresholds(
    scope: Configuring, project_id: Id, meter_class: MeterClass, body: ThresholdIn
) -> ThresholdOut:
    """Says what differs for all meters of a class in a project."""
    return _threshold(await threshold_overrides.set_of_class(scope.conn, project_id, meter_class, body.settings))


@router.put("/meters/{meter_id}/validation-thresholds")
async def set_meter_thresholds(scope: Configuring, meter_id: Id, body: ThresholdIn) -> ThresholdOut:
    """Says what differs for one meter."""
    return _threshold(await threshold_overrides.set_of_meter(scope.conn, meter_id, body.settings))


def _threshold(found: Override) -> ThresholdOut:
    return ThresholdOut(
        meter_class=found.meter_class,
        meter_id=found.meter_id,
        settings=dict(found.settings),
        in_force=found.in_force.model_dump(mode="json"),
    )
