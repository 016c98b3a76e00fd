"""Accounts rated per second by the engine against a plain loop over Decimals; both must give the same totals."""

import random
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

import cloud
from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.plan import plan
from tests.benchmarks.measure import Measure
from tests.unit.cloud.tariffs.reference import Account, rate

_TARIFFS: Final = Path(cloud.__file__).parents[1] / "firmware-config" / "tariffs"
_ACCOUNTS: Final = 100_000
_BY_DECIMAL: Final = 2_000


def run() -> list[Measure]:
    """Beijing residential electricity, yearly tiers: a month of usage at some point of the year."""
    content = load_yaml(_TARIFFS / "beijing-electricity.yaml", TariffContent)
    generator = random.Random(7)
    quantity = np.array([generator.randrange(0, 1_200_000) for _ in range(_ACCOUNTS)], dtype=np.int64)
    before = np.array([generator.randrange(0, 6_000_000) for _ in range(_ACCOUNTS)], dtype=np.int64)
    persons = np.array([generator.randrange(1, 9) for _ in range(_ACCOUNTS)], dtype=np.int64)

    started = perf_counter()
    prepared = plan(content)
    steps = np.array([prepared.household_steps(count) for count in range(9)], dtype=np.int64)[persons]
    rated = rate_batch(prepared, Usages([quantity], before=before, steps=steps), _ACCOUNTS)
    ours = _ACCOUNTS / (perf_counter() - started)

    started = perf_counter()
    totals = [
        rate(content, Account({"all": _kwh(quantity[n])}, before=_kwh(before[n]), persons=int(persons[n]))).total
        for n in range(_BY_DECIMAL)
    ]
    reference = _BY_DECIMAL / (perf_counter() - started)
    for n, total in enumerate(totals):
        if Decimal(int(rated.totals[n])).scaleb(-2) != total:
            raise AssertionError(f"account {n}: the engine says {rated.totals[n]}, the Decimal loop {total}")
    return [Measure("rating, yearly tiers, 100,000 accounts", ours, "Decimal loop", reference, "accounts", 40)]


def _kwh(wh: np.int64) -> Decimal:
    return Decimal(int(wh)).scaleb(-3)
