"""Pages of a lot's fee rule: its versions, and an editor, form or YAML, that shows what a rule would come to."""

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.kit.forms import local_instant
from cloud.kit.routing import page_router
from cloud.parking.fees import service
from cloud.parking.fees.beginnings import NAMES, beginning
from cloud.parking.fees.differences import differences
from cloud.parking.fees.editor import PUBLISH, Editor, Tab, editor_of_rule, editor_sent
from cloud.parking.fees.form_problems import place_of, where
from cloud.parking.fees.form_words import CHOICES, CLASSES, DAYS
from cloud.parking.fees.models import ParkingRule, Schedule, Unit
from cloud.parking.fees.reading import rule_text
from cloud.parking.fees.trying import BEGINNINGS, TypedStay, next_first_day, today_of, try_rule
from cloud.parking.places.service import get_lot
from cloud.parking.records import RuleVersion

router = page_router()

_Reader = Annotated[Scope, allow_page("parking.read")]
_Writer = Annotated[Scope, allow_page("parking.write")]
_Tab = Annotated[Tab, Form()]
_LONGEST = timedelta(days=31)


@router.get("/parking/lots/{lot_id}/fees")
async def editor(
    request: Request, scope: _Writer, lot_id: int, version: int | None = None, tab: Tab = "form", begin: str = ""
) -> Response:
    """Versions of the rule; the newest in the editor, or another one, or a rule that ships, to change."""
    page = await shown(request, scope)
    versions = await service.rules_of_lot(scope.conn, lot_id)
    base = next((one for one in versions if one.version == version), versions[-1] if versions else None)
    with page.speaking():
        begun = beginning(begin, page.project.currency)
    rule = begun or (_first_rule(page) if base is None else base.rule)
    return await _page(page, lot_id, versions, editor_of_rule(rule, tab))


@router.post("/parking/lots/{lot_id}/fees/preview")
async def preview(
    request: Request,
    scope: _Writer,
    lot_id: int,
    tab: _Tab = "yaml",
    valid_from: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """What the rule in the editor would come to; nothing is kept."""
    page = await shown(request, scope)
    context: dict[str, Any] = {"editor": None, "tried": None, "refused": None, "beginnings": BEGINNINGS}
    fields = await _fields(request)
    try:
        with page.speaking():
            found = context["editor"] = editor_sent(fields, tab, "")
        if found.rule is not None:
            day = _day(valid_from) or today_of(page.project.zone)
            stay = _typed_stay(dict(fields), page)
            tried = context["tried"] = await try_rule(scope.conn, lot_id, found.rule, day, stay)
            with page.speaking():
                context["changes"] = [] if tried.base is None else differences(tried.base.rule, tried.rule)
    except InvalidInput as error:
        context["refused"] = error
    return page.page("parking/fee_preview.html", **context, place=_place)


@router.post("/parking/lots/{lot_id}/fees")
async def send(
    request: Request,
    scope: _Writer,
    lot_id: int,
    valid_from: Annotated[str, Form(max_length=20)] = "",
    tab: _Tab = "yaml",
    action: Annotated[str, Form(max_length=100)] = PUBLISH,
) -> Response:
    """Publishes what is in the editor from a day on, or says what is wrong with it; other buttons change the form."""
    page = await shown(request, scope)
    versions = await service.rules_of_lot(scope.conn, lot_id)
    fields = await _fields(request)
    try:
        with page.speaking():
            found = editor_sent(fields, tab, action)
    except InvalidInput as error:
        unread = Editor("yaml", dict(fields).get("rule", ""), None, None)
        return await _page(page, lot_id, versions, unread, day=valid_from, refused=error)
    if action != PUBLISH:
        return await _page(page, lot_id, versions, found, day=valid_from)
    refused: GatemeterError | None = None
    try:
        if found.rule is not None:
            await service.publish_rule(scope.conn, lot_id, found.rule, _first_day(valid_from), scope.caller.user_id)
            return RedirectResponse(f"/parking/lots/{lot_id}/fees?done=tariff-published", 303)
    except (InvalidInput, Conflict) as error:
        refused = error
    status = 422 if refused is None else refused.status
    return await _page(page, lot_id, versions, found, day=valid_from, refused=refused, status=status)


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
    edited: Editor,
    *,
    day: str = "",
    refused: GatemeterError | None = None,
    status: int = 200,
) -> Response:
    lot = await get_lot(page.conn, lot_id)
    today = today_of(page.project.zone)
    first = _day(day) or next_first_day([one.valid_from for one in versions], today)
    return page.page(
        "parking/fees.html",
        status=status if refused is None else refused.status,
        lot=lot,
        versions=versions[::-1],
        editor=edited,
        valid_from=first,
        trial_from=f"{first}T09:00",
        trial_to=f"{first}T12:30",
        today=today,
        refused=refused,
        beginnings=NAMES,
        days=DAYS,
        classes=CLASSES,
        choices=CHOICES,
    )


async def _fields(request: Request) -> list[tuple[str, str]]:
    form = await request.form()
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _place(field: str) -> str:
    return where(place_of(field))


def _typed_stay(fields: dict[str, str], page: Shown) -> TypedStay | None:
    """The stay beside the preview; None while it is not whole, or longer than what is worth a preview."""
    try:
        begin, end = (local_instant(fields.get(f"stay.{name}", ""), page.project.zone, name) for name in ("from", "to"))
        length = end - begin
    except (InvalidInput, OverflowError):
        return None
    near = _day(begin.date().isoformat()) is not None and timedelta(0) <= length <= _LONGEST
    return TypedStay(begin, end, fields.get("stay.class", "").strip()) if near else None


def _first_day(text: str) -> date:
    """The day from which a version holds. Raises InvalidInput."""
    found = _day(text)
    if found is None:
        raise InvalidInput("bad-date", "expected the day from which the rule holds", field="valid_from")
    return found


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
