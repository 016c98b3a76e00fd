"""SQL of monthly cards: what is sold, the months that were sold, refunds, and whose time comes to an end."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString

import psycopg

from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.parking.permits.records import NewProduct, Product, SoldMonth

_PRODUCT: LiteralString = """
    SELECT p.id, p.project_id, p.name, p.price, p.months_from, p.most_months, p.vehicle_class, p.spaces, p.when_freed,
           p.grace_days, p.remind_days, p.withdrawn_at,
           (SELECT array_agg(lot_id ORDER BY lot_id) FROM permit_product_lot l WHERE l.product_id = p.id) AS lot_ids,
           ARRAY(SELECT lane_id FROM permit_product_lane l WHERE l.product_id = p.id ORDER BY lane_id) AS lane_ids
    FROM permit_product p
"""
_PRODUCTS: LiteralString = (
    _PRODUCT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR p.project_id = %(project_id)s)
      AND (%(all)s OR p.withdrawn_at IS NULL) AND p.id < %(before)s
    ORDER BY p.id DESC LIMIT %(limit)s
"""
)
_INSERT: LiteralString = """
    INSERT INTO permit_product (project_id, name, price, months_from, most_months, vehicle_class, spaces, when_freed,
                                grace_days, remind_days)
    VALUES (%(project_id)s, %(name)s, %(price)s, %(months_from)s, %(most_months)s, %(vehicle_class)s, %(spaces)s,
            %(when_freed)s, %(grace_days)s, %(remind_days)s)
    RETURNING id
"""
_INSERT_MONTH: LiteralString = """
    INSERT INTO permit_month (project_id, period_id, days, amount, agreement_id)
    VALUES (%(project_id)s, %(period_id)s, daterange(%(start)s, %(end)s), %(amount)s, %(agreement_id)s)
"""
_MONTHS: LiteralString = """
    SELECT m.id, m.period_id, lower(m.days) AS start, upper(m.days) AS "end", m.amount, m.agreement_id, m.given_back,
           y.method AS payment_method
    FROM permit_month m JOIN permit_period d ON d.id = m.period_id LEFT JOIN payment y ON y.id = d.payment_id
    WHERE d.permit_id = %s ORDER BY m.days
"""
# Cards in force whose last period ends soon: `renews` tells whose, those that are renewed by themselves or the others.
_ENDING: LiteralString = """
    SELECT p.id FROM permit p JOIN permit_product r ON r.id = p.product_id
    CROSS JOIN LATERAL (SELECT max(upper(valid)) AS ends FROM permit_period WHERE permit_id = p.id) d
    WHERE p.project_id = %(project_id)s AND p.renews = %(renews)s AND p.ended_at IS NULL AND p.id > %(after)s
      AND p.id IN (SELECT permit_id FROM permit_period
                   WHERE project_id = %(project_id)s
                     AND upper(valid) BETWEEN %(at)s - interval '60 days' AND %(at)s + interval '61 days')
      AND CASE WHEN %(renews)s THEN d.ends <= %(at)s + %(within)s
               ELSE d.ends > %(at)s AND d.ends <= %(at)s + make_interval(days => r.remind_days) END
    ORDER BY p.id LIMIT 500
"""


async def insert_product(conn: Conn, project_id: int, new: NewProduct) -> int:
    """A new product. Raises what the database refuses, in our words."""
    try:
        async with conn.transaction():
            row = await (await conn.execute(_INSERT, {**asdict(new), "project_id": project_id})).fetchone()
            assert row is not None
            query = """INSERT INTO permit_product_lot (project_id, product_id, lot_id)
                       SELECT %s, %s, unnest(%s::bigint[])"""
            await conn.execute(query, (project_id, row["id"], sorted(set(new.lot_ids))))
            query = """INSERT INTO permit_product_lane (project_id, product_id, lane_id)
                       SELECT %s, %s, unnest(%s::bigint[])"""
            await conn.execute(query, (project_id, row["id"], sorted(set(new.lane_ids))))
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error
    return int(row["id"])


async def product(conn: Conn, product_id: int) -> Product | None:
    """One product."""
    row = await (await conn.execute(_PRODUCT + "WHERE p.id = %s", (product_id,))).fetchone()
    return None if row is None else Product(**row)


async def products(conn: Conn, page: PageRequest, project_id: int | None, *, withdrawn: bool) -> Page[Product]:
    """Products, the newest first; those that are not sold any more only when asked for."""
    return await newest_first(
        conn, _PRODUCTS, {"project_id": project_id, "all": withdrawn}, page, lambda row: Product(**row)
    )


async def withdraw_product(conn: Conn, product_id: int, at: datetime) -> None:
    """It is not sold any more."""
    query = "UPDATE permit_product SET withdrawn_at = %s WHERE id = %s AND withdrawn_at IS NULL"
    await conn.execute(query, (at, product_id))


async def replace_lane(conn: Conn, old_id: int, new_id: int) -> None:
    """Cards of one lane are cards of another."""
    await conn.execute("UPDATE permit_product_lane SET lane_id = %s WHERE lane_id = %s", (new_id, old_id))


async def insert_month(conn: Conn, values: Mapping[str, object]) -> None:
    """A month that was sold."""
    await conn.execute(_INSERT_MONTH, values)


async def months(conn: Conn, permit_id: int) -> list[SoldMonth]:
    """All months that were sold of a permit, in order of time."""
    return [SoldMonth(**row) for row in await (await conn.execute(_MONTHS, (permit_id,))).fetchall()]


async def give_back(conn: Conn, month_ids: Sequence[int]) -> None:
    """These months were not used and are given back."""
    await conn.execute("UPDATE permit_month SET given_back = true WHERE id = ANY (%s::bigint[])", (list(month_ids),))


async def insert_refund(
    conn: Conn, permit: tuple[int, int], amount: Decimal, method: str, day: date, by: int | None
) -> int:
    """Money that went out for a permit (project, permit)."""
    query = """INSERT INTO permit_refund (project_id, permit_id, amount, method, refunded_on, created_by)
               VALUES (%s, %s, %s, %s, %s, %s) RETURNING id"""
    row = await (await conn.execute(query, (*permit, amount, method, day, by))).fetchone()
    assert row is not None
    return int(row["id"])


async def ending(conn: Conn, project_id: int, at: datetime, within: object, after: int, *, renews: bool) -> list[int]:
    """Ids above `after` of cards that end soon: those renewed by themselves `within` a time, others when to remind."""
    values = {"project_id": project_id, "at": at, "within": within, "after": after, "renews": renews}
    return [row["id"] for row in await (await conn.execute(_ENDING, values)).fetchall()]
