"""How a project takes money for parking: what is done about debts, the tax in its fees, where one pays by plate."""

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, LiteralString

from cloud.kit.db import Conn
from cloud.kit.money import minor_digits, round_half_up

Debts = Literal["collect", "show"]
Vehicles = Literal["approve", "at-once"]
_CODE_CHARS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without characters that are easily taken for others: people type it from a sign."""
_CODE_LENGTH: Final = 8

_POLICY: LiteralString = """
    SELECT debts, tax_percent, public_code, vehicles, passes_a_month, pass_hours, free_passes
    FROM parking_money_policy WHERE project_id = %s
"""
_SET: LiteralString = """
    INSERT INTO parking_money_policy AS p (project_id, debts, tax_percent, public_code, vehicles, passes_a_month,
                                           pass_hours, free_passes)
    VALUES (%(project_id)s, %(debts)s, %(tax_percent)s, %(public_code)s, %(vehicles)s, %(passes_a_month)s,
            %(pass_hours)s, %(free_passes)s)
    ON CONFLICT (project_id) DO UPDATE SET debts = excluded.debts, tax_percent = excluded.tax_percent,
        public_code = excluded.public_code, vehicles = excluded.vehicles, passes_a_month = excluded.passes_a_month,
        pass_hours = excluded.pass_hours, free_passes = excluded.free_passes
"""


@dataclass(frozen=True, slots=True)
class MoneyPolicy:
    """`debts`: whether a vehicle that owes for earlier stays is let out by itself (`show`) or only once it has paid.

    `tax_percent`: value-added tax that fees contain. `public_code`: of the page where one pays by plate, None: there
    is none. `vehicles`: whether those that residents name are theirs at once. `passes_a_month`: for visitors, of each
    resident, 0: none; each lasts at most `pass_hours`, and costs the visitor nothing if `free_passes`.
    """

    debts: Debts = "collect"
    tax_percent: Decimal = Decimal(0)
    public_code: str | None = None
    vehicles: Vehicles = "approve"
    passes_a_month: int = 10
    pass_hours: int = 24
    free_passes: bool = True


def tax_in(amount: Decimal, percent: Decimal, currency: str) -> Decimal:
    """The tax of `percent` on top of the net price that `amount` contains, in the currency's smallest unit.

    Halves go away from zero.
    """
    return round_half_up(amount * percent / (100 + percent), minor_digits(currency))


async def money_policy(conn: Conn, project_id: int) -> MoneyPolicy:
    """The policy of a project; the usual one where nothing was set."""
    row = await (await conn.execute(_POLICY, (project_id,))).fetchone()
    return MoneyPolicy() if row is None else MoneyPolicy(**row)


async def set_money_policy(conn: Conn, project_id: int, wanted: MoneyPolicy, *, public: bool) -> MoneyPolicy:
    """Sets the policy. `public`: there is a page where one pays by plate; it keeps its code while there is one."""
    known = (await money_policy(conn, project_id)).public_code
    code = known or "".join(secrets.choice(_CODE_CHARS) for _ in range(_CODE_LENGTH)) if public else None
    values = {name: getattr(wanted, name) for name in MoneyPolicy.__slots__}
    await conn.execute(_SET, values | {"project_id": project_id, "public_code": code})
    return await money_policy(conn, project_id)


async def project_of_code(conn: Conn, code: str) -> int | None:
    """The project whose page has this code, for somebody who is not signed in."""
    row = await (await conn.execute("SELECT gm.project_of_public_code(%s) AS id", (code,))).fetchone()
    return None if row is None or row["id"] is None else int(row["id"])
