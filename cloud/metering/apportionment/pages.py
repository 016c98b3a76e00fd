"""Pages of apportionment: rules, a preview that adds up, settled versions, a resident's own shares."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.records import UnitKind, Validity
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalId, OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.apportionment import service as apportioning
from cloud.metering.apportionment.models import FixedQuantity, base_units
from cloud.metering.apportionment.records import (
    Basis,
    Member,
    NewRule,
    Participation,
    Preview,
    Share,
    SharedThing,
)
from cloud.metering.consumption.months_shown import latest_month, month_shown
from cloud.metering.exports.csv_answer import csv_answer
from cloud.metering.records import MAIN_CHANNEL, Medium

router = page_router()

_ReadsUsage = Annotated[Scope, allow_page("usage.read")]
_WritesMeters = Annotated[Scope, allow_page("meters.write")]
_SHOWN = 24
_LONGEST_LIST = 2_000


@router.get("/apportionment")
async def rules(request: Request, scope: _ReadsUsage, cursor: str | None = None) -> Response:
    """Rules of the project."""
    page = await shown(request, scope)
    found = await apportioning.list_rules(scope.conn, page_request(None, cursor), page.project.id)
    meters = await service.meters_by_id(scope.conn, [rule.meter_id for rule in found.items if rule.meter_id])
    return page.page("metering/apportionment.html", rules=found, meters=meters)


@router.get("/apportionment/new")
async def new_rule(request: Request, scope: _WritesMeters) -> Response:
    """The form of a rule."""
    page = await shown(request, scope)
    buildings = await estate.list_buildings(
        scope.conn, PageRequest(MAX_LIMIT), EstateFilter(project_id=page.project.id)
    )
    return page.page(
        "metering/apportionment_new.html",
        buildings=buildings.items,
        today=local_day(datetime.now(UTC), page.project.zone),
    )


@router.post("/apportionment")
async def create_rule(
    request: Request,
    scope: _WritesMeters,
    name: Annotated[str, Form(min_length=1, max_length=100)],
    medium: Annotated[Medium, Form()],
    shared: Annotated[SharedThing, Form()],
    basis: Annotated[Basis, Form()],
    participants: Annotated[Participation, Form()],
    valid_from: Annotated[date, Form(ge=date(1970, 1, 1), le=date(2199, 12, 31))],
    meter: Annotated[OptionalText, Form()] = None,
    quantity: Annotated[FixedQuantity | None, Form()] = None,
    building_id: Annotated[OptionalId, Form()] = None,
    units: Annotated[str, Form(max_length=100_000)] = "",
    excluded_kinds: Annotated[list[UnitKind] | None, Form()] = None,
    only_occupied: Annotated[bool, Form()] = False,
) -> Response:
    """Keeps a rule. Meters and units are named as people know them."""
    page = await shown(request, scope)
    meter_id = None if meter is None else await _meter_id(scope.conn, page, meter, medium)
    new = NewRule(
        name, medium, shared, basis, participants, Validity(valid_from), meter_id,
        None if shared != "fixed" or quantity is None else base_units(quantity, MAIN_CHANNEL[medium]),
        building_id if participants == "building" else None, tuple(excluded_kinds or ()), only_occupied,
        await _members(scope.conn, page, units) if participants == "list" else (),
    )  # fmt: skip
    rule = await apportioning.create_rule(scope.conn, page.project.id, new)
    return RedirectResponse(f"/apportionment/{rule.id}?done=rule-made", 303)


@router.get("/apportionment/{rule_id}")
async def rule(
    request: Request,
    scope: _WritesMeters,
    rule_id: int,
    month: OptionalText = None,
    estimate: bool = False,
    cursor: str | None = None,
) -> Response:
    """A rule: what a month comes to now, and the versions settled so far."""
    page = await shown(request, scope)
    found = await apportioning.get_rule(scope.conn, rule_id)
    zone = (await estate.get_project(scope.conn, found.project_id)).zone
    period = month_shown(month, zone)
    made: Preview | None = None
    problem: InvalidInput | None = None
    try:
        made = await apportioning.preview(
            scope.conn, rule_id, period, local_day(datetime.now(UTC), zone), estimate=estimate
        )
    except InvalidInput as error:
        problem = error
    return page.page(
        "metering/apportionment_rule.html",
        rule=found,
        meter=None if found.meter_id is None else await service.get_meter(scope.conn, found.meter_id),
        period=period,
        latest=latest_month(zone),
        estimate=estimate,
        preview=made,
        problem=problem,
        open_meters=await service.meters_by_id(scope.conn, made.open_meters if made else ()),
        labels=await _labels(scope.conn, made.shares if made else ()),
        runs=await apportioning.list_runs(scope.conn, rule_id, page_request(_SHOWN, cursor)),
    )


@router.post("/apportionment/{rule_id}/settle")
async def settle(
    scope: _WritesMeters, rule_id: int, month: Annotated[str, Form(pattern=r"^\d{4}-\d{2}$")],
    estimate: Annotated[bool, Form()] = False,
) -> Response:  # fmt: skip
    """Keeps the shares of a month; pressed twice it is done once."""
    found = await apportioning.get_rule(scope.conn, rule_id)
    zone = (await estate.get_project(scope.conn, found.project_id)).zone
    run = await apportioning.settle(
        scope.conn, rule_id, month_shown(month, zone), local_day(datetime.now(UTC), zone),
        scope.caller.actor, estimate=estimate,
    )  # fmt: skip
    return RedirectResponse(f"/apportionment/runs/{run.id}?done=settled", 303)


@router.post("/apportionment/{rule_id}/end")
async def end(
    scope: _WritesMeters,
    rule_id: int,
    valid_until: Annotated[date, Form(ge=date(1970, 1, 1), le=date(2199, 12, 31))],
) -> Response:
    """Lets a rule hold up to, not including, a day."""
    await apportioning.end_rule(scope.conn, rule_id, valid_until)
    return RedirectResponse(f"/apportionment/{rule_id}?done=rule-ended", 303)


@router.get("/apportionment/runs/{run_id}")
async def run(request: Request, scope: _ReadsUsage, run_id: int) -> Response:
    """A settled version with a table that adds up to its amount."""
    page = await shown(request, scope)
    found = await apportioning.get_run(scope.conn, run_id)
    shares = await apportioning.shares_of_run(scope.conn, run_id)
    return page.page(
        "metering/apportionment_run.html",
        run=found,
        rule=await apportioning.get_rule(scope.conn, found.rule_id),
        shares=shares,
        labels=await _labels(scope.conn, shares),
    )


@router.get("/apportionment/runs/{run_id}/export.csv")
async def run_csv(scope: _ReadsUsage, run_id: int) -> Response:
    """The same table as a file."""
    found = await apportioning.get_run(scope.conn, run_id)
    channel = (await apportioning.get_rule(scope.conn, found.rule_id)).channel
    shares = await apportioning.shares_of_run(scope.conn, run_id)
    labels = await _labels(scope.conn, shares)
    header = ("unit", "from", "until", "weight", "total_weight", f"quantity_{channel.display_unit}")
    return csv_answer(
        f"apportionment-{run_id}.csv",
        header,
        [
            (
                labels.get(share.unit_id, ""), share.from_on, share.until_on, share.weight, found.total_weight,
                format(Decimal(share.quantity).scaleb(channel.display_exponent), "f"),
            )
            for share in shares
        ],
    )  # fmt: skip


@router.get("/my/shares")
async def my_shares(request: Request, scope: _ReadsUsage) -> Response:
    """What the resident's own units were given, with what explains it; row-level security leaves no others."""
    page = await shown(request, scope)
    units = await estate.list_units(scope.conn, PageRequest(MAX_LIMIT), EstateFilter(project_id=page.project.id))
    shares = await apportioning.shares_of_units(scope.conn, [unit.id for unit in units.items])
    labels = {unit.id: unit.label for unit in units.items}
    channels = {medium: quantity.code for medium, quantity in MAIN_CHANNEL.items()}
    return page.page("metering/my_shares.html", shares=shares, labels=labels, channels=channels)


async def _labels(conn: Conn, shares: Any) -> dict[int, str]:
    """Labels of the units of some shares."""
    found: list[Share] = list(shares)
    return {unit.id: unit.label for unit in (await estate.units_by_id(conn, {one.unit_id for one in found})).values()}


async def _meter_id(conn: Conn, page: Shown, code: str, medium: Medium) -> int:
    """The meter with this number. Raises InvalidInput."""
    found = await service.meter_by_code(conn, page.project.id, code.strip())
    if found is None or found.medium != medium:
        raise InvalidInput("other-meter", f"there is no {medium} meter {code}", field="meter")
    return found.id


async def _members(conn: Conn, page: Shown, text: str) -> tuple[Member, ...]:
    """Lines such as `0101 2`: the number of a unit and its share, 1 when none is given. Raises InvalidInput."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) > _LONGEST_LIST:
        raise InvalidInput("bad-rule", f"expected at most {_LONGEST_LIST} units", field="units")
    units = await estate.list_units(conn, PageRequest(100_000), EstateFilter(project_id=page.project.id))
    by_name: dict[str, list[int]] = {}
    for unit in units.items:
        for name in {unit.code, unit.label.replace(" ", "")}:
            by_name.setdefault(name, []).append(unit.id)
    return tuple(_member(words, by_name) for words in lines)


def _member(words: list[str], by_name: dict[str, list[int]]) -> Member:
    """The unit that a whole line names, or all of it but the share at its end."""
    named, share = by_name.get("".join(words)), "1"
    if named is None and len(words) > 1:
        named, share = by_name.get("".join(words[:-1])), words[-1]
    if named is None or len(named) != 1 or not share.isdecimal() or len(share) > 9:
        line = " ".join(words)
        raise InvalidInput("unknown-unit", f"expected one unit and a whole number, got {line}", field="units")
    return Member(named[0], int(share))
