"""Random histories of a home: readings late or put right, persons filed late, prices, moves, payments, re-ratings.

In the end every charge is what the reference, which goes day by day, makes of the final facts, or what it comes to in a
project where everything is known from the start; bills, notes and what waits for the next bill add up to it; and rating
again finds nothing.
"""

import os
from decimal import Decimal
from random import Random

import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from tests.integration.billing.histories import ENDS, fresh
from tests.integration.billing.random_tariffs import random_shape

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
SEEDS = range(*map(int, os.environ.get("HISTORIES", "0:100" if LONG else "0:4").split(":")))
"""By first seed, end and step."""
STEPS = 24
ZONES = ["Asia/Shanghai", "Europe/Berlin"]
"""In one of them a day of March has 23 hours."""


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_charge_comes_to_what_the_reference_makes_of_the_final_facts(
    worker_db: Database, seed: int
) -> None:
    random = Random(seed)
    history = await fresh(worker_db, random_shape(random), random=random, zone=random.choice(ZONES))
    kinds = ["bill", "bill", "learn", "learn", "right", "persons", "persons", "price", "move", "money", "rate"]
    if seed % 2:
        kinds += ["agree", "agree"]
    for _ in range(STEPS):
        step = history.random.choice([*kinds, "decide"])
        history.told.append(step)
        await {
            "bill": history.bill,
            "learn": lambda: history.learn(history.random.randrange(len(ENDS))),
            "right": history.put_right,
            "persons": history.persons,
            "price": history.price,
            "move": history.move,
            "money": history.money,
            "rate": history.rate,
            "decide": history.decide,
            "agree": history.agree_on,
        }[step]()
        assert await history.site.proof() == [], history.told
    for nth in range(len(ENDS)):
        await history.learn(nth)
    await history.rate()
    while history.billed < ENDS[-1] or history.preview is not None:
        await (history.bill() if history.preview is None else history.decide())
    await history.rate()
    assert await history.site.rows("SELECT code FROM late_usage UNION ALL SELECT code FROM late_filing") == []
    found = await history.standing()
    amounts = [one["amount"] for one in found]
    if not history.agreed:
        assert amounts == await history.expected(), history.told
    assert [one["lines"] for one in found] == [max(one["amount"] - one["gifts"], Decimal(0)) for one in found]
    assert await history.site.proof() == []
    async with worker_db.transaction(SYSTEM) as conn:
        for account_id, since in history.accounts:
            for cause in ("usage", "persons", "area", "concession"):
                again = await billing.rerate_account(conn, account_id, since, cause=cause)
                assert again.adjusted == 0, cause
    if history.agreed:
        assert amounts == await history.from_the_start(), history.told
