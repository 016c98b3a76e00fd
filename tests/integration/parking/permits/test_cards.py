"""Monthly cards: sold once, renewed once, paid at the desk or billed, given back when they are not used."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError
from cloud.kit.paging import PageRequest
from cloud.notices import service as notices
from cloud.notices.records import NoticeFilter
from cloud.parking.permits import cards, endings, service
from cloud.parking.permits.cards import RENEWED_BEFORE
from cloud.parking.permits.records import Holding, Offer, Pay, Permit
from cloud.parking.permits.reminding import remind
from tests.integration.parking.permits.holder import DAY, FIRST, SECOND, Home, local, make_home, make_product
from tests.integration.parking.site import NOON, Site, rows

PRICE = Decimal("300.00")


@pytest.fixture
async def home(worker_db: Database, site: Site) -> Home:
    """A resident of the site."""
    return await make_home(worker_db, site)


async def sell(
    db: Database, product_id: int, holding: Holding, months: int = 1, method: str | None = "cash", at: datetime = NOON
) -> Permit:
    async with db.transaction(SYSTEM) as conn:
        due = (await cards.sale_offer(conn, product_id, months, at=at)).amount
        return await cards.sell(conn, product_id, holding, months, Pay(due, method), at=at)


async def renew(db: Database, permit: Permit, months: int = 1, *, method: str | None = "cash", at: datetime) -> Permit:
    assert permit.valid_until is not None
    async with db.transaction(SYSTEM) as conn:
        due = (await cards.renewal_offer(conn, permit.id, months, at)).amount
        return await cards.renew(conn, permit.id, months, permit.valid_until, Pay(due, method), at=at)


async def booked(db: Database) -> dict[str, Decimal]:
    """The ledger: sums by account."""
    found = await rows(db, "SELECT ledger_account, sum(amount) AS amount FROM posting GROUP BY ledger_account")
    return {row["ledger_account"]: row["amount"] for row in found if row["amount"]}


async def test_another_card_is_sold_on_the_day_on_which_the_wrong_one_was_ended(
    worker_db: Database, site: Site, home: Home
) -> None:
    product = await make_product(worker_db, site)
    wrong = await sell(worker_db, product.id, home.holds(FIRST))
    async with worker_db.transaction(SYSTEM) as conn:
        await endings.end_permit(conn, wrong.id, "wrong product", at=NOON)
    right = await sell(worker_db, product.id, home.holds(FIRST), at=NOON + timedelta(minutes=5))
    assert (right.state, right.plates, right.valid_until) == ("active", [FIRST], local(date(2026, 6, 1)))


async def test_a_card_is_sold_at_the_desk_for_months_from_today(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site, grace_days=3)
    permit = await sell(worker_db, product.id, home.holds(FIRST, SECOND), months=2)
    assert (permit.kind, permit.state, permit.spaces, permit.grace_days) == ("monthly-card", "active", 1, 3)
    assert (permit.valid_from, permit.valid_until) == (local(date(2026, 5, 1)), local(date(2026, 7, 1)))
    assert await booked(worker_db) == {"cash:cash": 2 * PRICE, "revenue:parking": -2 * PRICE}
    with pytest.raises(Conflict, match="has permit"):
        await sell(worker_db, product.id, home.holds(FIRST))
    assert await booked(worker_db) == {"cash:cash": 2 * PRICE, "revenue:parking": -2 * PRICE}


async def test_the_rest_of_a_month_is_charged_by_days(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site, "310.00", months_from="calendar")
    async with worker_db.transaction(SYSTEM) as conn:
        offer = await cards.sale_offer(conn, product.id, 1, date(2026, 5, 22), NOON)
    assert offer == Offer(date(2026, 5, 22), date(2026, 7, 1), Decimal("410.00"), "CNY")


async def test_a_card_is_renewed_from_its_end_and_never_twice(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site, grace_days=3)
    permit = await sell(worker_db, product.id, home.holds(FIRST), at=NOON + 30 * DAY)  # 31 May
    renewed = await renew(worker_db, permit, at=NOON + 40 * DAY)
    assert renewed.valid_until == local(date(2026, 7, 31)), "the day of the month is kept"
    with pytest.raises(Conflict) as repeated:
        await renew(worker_db, permit, at=NOON + 40 * DAY)
    assert repeated.value.code == "renewed-already"
    assert (await booked(worker_db))["cash:cash"] == 2 * PRICE
    in_grace = await renew(worker_db, renewed, at=local(date(2026, 8, 2)))
    assert in_grace.valid_until == local(date(2026, 8, 31))
    lapsed = await renew(worker_db, in_grace, at=local(date(2026, 9, 10)) + timedelta(hours=9))
    assert (lapsed.valid_until, lapsed.state) == (local(date(2026, 10, 10)), "active")
    async with worker_db.transaction(SYSTEM) as conn:
        periods = (await service.get_detail(conn, permit.id)).periods
    assert periods[-1].valid_from == local(date(2026, 9, 10)), "what lay between is not covered"


async def test_a_card_that_is_renewed_on_the_day_of_its_end_keeps_the_day_of_its_months(
    worker_db: Database, site: Site, home: Home
) -> None:
    product = await make_product(worker_db, site)
    permit = await sell(worker_db, product.id, home.holds(FIRST), at=NOON + 30 * DAY)  # 31 May
    assert permit.valid_until == local(date(2026, 6, 30))
    renewed = await renew(worker_db, permit, at=local(date(2026, 6, 30)) + timedelta(hours=9))
    assert renewed.valid_until == local(date(2026, 7, 31)), "there is no gap: 31, 30, 31"
    following = await renew(worker_db, renewed, at=local(date(2026, 7, 30)))
    assert following.valid_until == local(date(2026, 8, 31)), "a month, and not a day more"


async def test_what_was_told_must_still_be_the_price(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site, most_months=3)

    async def code(months: int, pay: Pay, holding: Holding) -> str:
        with pytest.raises(GatemeterError) as refused:
            async with worker_db.transaction(SYSTEM) as conn:
                await cards.sell(conn, product.id, holding, months, pay, at=NOON)
        return refused.value.code

    assert await code(1, Pay(Decimal("299.00"), "cash"), home.holds(FIRST)) == "amount-changed"
    assert await code(4, Pay(4 * PRICE, "cash"), home.holds(FIRST)) == "too-many-months"
    assert await code(1, Pay(PRICE, "barter"), home.holds(FIRST)) == "bad-method"
    assert await code(1, Pay(PRICE), Holding((FIRST,), note="nobody's")) == "no-account"
    assert await booked(worker_db) == {}
    assert await rows(worker_db, "SELECT id FROM permit") == [], "what is refused leaves nothing"
    async with worker_db.transaction(SYSTEM) as conn:
        await cards.withdraw_product(conn, product.id)
        assert (await cards.list_products(conn, PageRequest(10), site.project_id)).items == []
    assert await code(1, Pay(PRICE, "cash"), home.holds(FIRST)) == "not-sold"


async def test_a_billed_card_is_a_charge_each_month_and_unused_ones_are_taken_back(
    worker_db: Database, site: Site, home: Home
) -> None:
    product = await make_product(worker_db, site)
    permit = await sell(worker_db, product.id, home.holds(FIRST), months=3, method=None)

    async def charges() -> list[tuple[date, Decimal | None, bool]]:
        async with worker_db.transaction(SYSTEM) as conn:
            found = await billing.list_agreements(conn, PageRequest(10), account_id=home.account_id, kind="one_off")
        return [(one.valid_from, one.amount, one.taken_back) for one in found.items]

    assert await charges() == [(date(2026, month, 1), PRICE, False) for month in (5, 6, 7)]
    async with worker_db.transaction(SYSTEM) as conn:
        ended = await endings.end_permit(conn, permit.id, "moved out", at=NOON + 40 * DAY)
    assert (ended.credited, ended.refunded) == (PRICE, Decimal(0))
    assert await charges() == [(date(2026, month, 1), PRICE, month == 7) for month in (5, 6, 7)]
    assert await booked(worker_db) == {}, "the bill run books what it bills"


async def test_months_paid_at_the_desk_that_did_not_begin_are_paid_out_and_booked(
    worker_db: Database, site: Site, home: Home
) -> None:
    product = await make_product(worker_db, site)
    permit = await sell(worker_db, product.id, home.holds(FIRST), months=3)
    async with worker_db.transaction(SYSTEM) as conn:
        ended = await endings.end_permit(conn, permit.id, "sold the car", method="transfer", at=NOON + DAY)
        assert ended.refunded == 2 * PRICE
        assert await billing.discrepancies(conn, site.project_id) == []
    assert await booked(worker_db) == {
        "cash:cash": 3 * PRICE,
        "cash:transfer": -2 * PRICE,
        "revenue:parking": -PRICE,
    }
    with pytest.raises(Conflict, match="was ended"):
        await renew(worker_db, permit, at=NOON + 2 * DAY)


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ("UPDATE permit_refund SET amount = amount + 1", "card-refund 1: expected 601.00, found 600.00"),
        ("UPDATE permit_refund SET method = 'cash'", "card-refund 1: expected 600.00, found 0"),
        ("DELETE FROM permit_refund", "card-refund 1: expected 0, found 600.00"),
        ("UPDATE permit_month SET given_back = true", "card-given-back 1: expected 900.00, found 600.00"),
        ("UPDATE permit_month SET amount = 299 WHERE id = 1", "card-months 1: expected 900.00, found 899.00"),
    ],
)
async def test_the_proof_finds_a_refund_that_is_not_what_was_booked_or_given_back(
    worker_db: Database, site: Site, home: Home, wrong: LiteralString, found: str
) -> None:
    product = await make_product(worker_db, site)
    permit = await sell(worker_db, product.id, home.holds(FIRST), months=3)
    async with worker_db.transaction(SYSTEM) as conn:
        await endings.end_permit(conn, permit.id, "sold the car", method="transfer", at=NOON + DAY)
        assert await billing.discrepancies(conn, site.project_id) == []
        await conn.execute(wrong)
        assert found in [str(one) for one in await billing.discrepancies(conn, site.project_id)]


async def test_a_card_renews_itself_once_shortly_before_its_end(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site)
    permit = await sell(worker_db, product.id, home.holds(FIRST), method=None)
    assert permit.valid_until is not None
    soon = permit.valid_until - RENEWED_BEFORE

    async def once(at: datetime) -> Permit | None:
        async with worker_db.transaction(SYSTEM) as conn:
            return await cards.renew_by_itself(conn, permit.id, at)

    assert await once(soon) is None, "nobody asked for it"
    async with worker_db.transaction(SYSTEM) as conn:
        await service.change_permit(conn, permit.id, home.holds(), renews=True, at=NOON)
    assert await once(soon - DAY) is None
    renewed = await once(soon)
    assert renewed is not None
    assert renewed.valid_until == local(date(2026, 7, 1))
    assert await once(soon) is None
    assert await once(soon + DAY) is None


async def test_the_holder_is_reminded_once_of_each_end(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site)
    permit = await sell(worker_db, product.id, home.holds(FIRST))
    assert permit.valid_until is not None
    for expected in (True, False):
        async with worker_db.transaction(SYSTEM) as conn:
            assert await remind(conn, permit.id, permit.valid_until - 5 * DAY) is expected
    async with worker_db.transaction(SYSTEM) as conn:
        (told,) = (await notices.list_notices(conn, PageRequest(5), NoticeFilter(person_id=home.person_id))).items
    assert (told.kind, told.link) == ("permit.ending", "/my/permits")
    assert FIRST in told.paragraphs[0]
