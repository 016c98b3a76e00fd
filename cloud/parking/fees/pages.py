"""Pages of a lot's fee rule: its versions, and an editor that shows at once what a rule would come to."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.parking.fees import service
from cloud.parking.fees.models import ParkingRule, Schedule, Unit
from cloud.parking.fees.reading import MOST_CHARACTERS, Problem, read_rule, rule_text
from cloud.parking.fees.trying import BEGINNINGS, next_first_day, today_of, try_rule
from cloud.parking.places.service import get_lot
from cloud.parking.records import RuleVersion

router = APIRouter(include_in_schema=False)

_Reader = Annotated[Scope, allow_page("parking.read")]
_Writer = Annotated[Scope, allow_page("parking.write")]
_Text = Annotated[str, Form(max_length=2 * MOST_CHARACTERS)]


@router.get("/parking/lots/{lot_id}/fees")
async def editor(request: Request, scope: _Writer, lot_id: int, version: int | None = None) -> Response:
    """Versions of the rule; the text of the newest, or of another one, to change."""
    page = await shown(request, scope)
    versions = await service.rules_of_lot(scope.conn, lot_id)
    base = next((one for one in versions if one.version == version), versions[-1] if versions else None)
    rule = _first_rule(page) if base is None else base.rule
    return await _page(page, lot_id, versions, rule_text(rule))


@router.post("/parking/lots/{lot_id}/fees/preview")
async def preview(
    request: Request,
    scope: _Writer,
    lot_id: int,
    rule: _Text = "",
    valid_from: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """What the rule in the editor would come to; nothing is kept."""
    page = await shown(request, scope)
    context: dict[str, Any] = {"problems": (), "tried": None, "refused": None, "beginnings": BEGINNINGS}
    try:
        read = read_rule(rule)
        context["problems"] = read.problems
        if read.rule is not None:
            day = _day(valid_from) or today_of(page.project.zone)
            context["tried"] = await try_rule(scope.conn, lot_id, read.rule, day)
    except InvalidInput as error:
        context["refused"] = error
    return page.page("parking/fee_preview.html", **context)


@router.post("/parking/lots/{lot_id}/fees")
async def publish(
    request: Request, scope: _Writer, lot_id: int, rule: _Text, valid_from: Annotated[date, Form()]
) -> Response:
    """Publishes what is in the editor from a day on, or says what is wrong with it."""
    page = await shown(request, scope)
    versions = await service.rules_of_lot(scope.conn, lot_id)
    problems: tuple[Problem, ...] = ()
    refused: GatemeterError | None = None
    try:
        read = read_rule(rule)
        problems = read.problems
        if read.rule is not None:
            await service.publish_rule(scope.conn, lot_id, read.rule, valid_from, scope.caller.user_id)
            return RedirectResponse(f"/parking/lots/{lot_id}/fees?done=tariff-published", 303)
    except (InvalidInput, Conflict) as error:
        refused = error
    return await _page(page, lot_id, versions, rule, valid_from=valid_from, problems=problems, refused=refused)


@router.get("/parking/lots/{lot_id}/fees/{version}")
async def show(request: Request, scope: _Reader, lot_id: int, version: int) -> Response:
    """A published version as it stands."""
    page = await shown(request, scope)
    lot = await get_lot(scope.conn, lot_id)
    found = next((one for one in await service.rules_of_lot(scope.conn, lot_id) if one.version == version), None)
    if found is None:
        raise NotFound("no-version", f"the rule of this lot has no version {version}")
    may_write = scope.caller.may("parking.write", lot.project_id)
    return page.page(
        "parking/fee_version.html", lot=lot, version=found, text=rule_text(found.rule), may_write=may_write
    )


async def _page(
    page: Shown,
    lot_id: int,
    versions: list[RuleVersion],
    text: str,
    *,
    valid_from: date | None = None,
    problems: tuple[Problem, ...] = (),
    refused: GatemeterError | None = None,
) -> Response:
    lot = await get_lot(page.conn, lot_id)
    today = today_of(page.project.zone)
    status = 422 if problems else 200 if refused is None else refused.status
    return page.page(
        "parking/fees.html",
        status=status,
        lot=lot,
        versions=versions[::-1],
        text=text,
        valid_from=valid_from or next_first_day([one.valid_from for one in versions], today),
        today=today,
        problems=problems,
        refused=refused,
    )


def _first_rule(page: Shown) -> ParkingRule:
    """Something to begin with."""
    schedule = Schedule(free_minutes=30, unit=Unit.model_validate({"minutes": 60, "price": "2.00"}))
    return ParkingRule(name=page.project.name, currency=page.project.currency, schedule=schedule)


def _day(text: str) -> date | None:
    """A day that is typed just now may not be whole yet."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if date(1970, 1, 3) < found < date(2190, 1, 1) else None
