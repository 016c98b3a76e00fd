"""What differs between two versions of a tariff, place by place, in words. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloud.tariffs.files.checking import Document
from cloud.tariffs.model.places import Place, where
from cloud.tariffs.model.tariff import TariffContent


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that differs: what stood there (None: nothing) and what stands there now."""

    place: Place
    where: str
    old: str | None
    new: str | None


def differences(old: TariffContent, new: TariffContent) -> list[Difference]:
    """All that differs; components and seasons are the same when their codes are. In the language in use."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    return list(_between((), before, after, before, after))


def _between(place: Place, old: Any, new: Any, before: Document, after: Document) -> Iterator[Difference]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("kind") == new.get("kind"):
        for key in {**old, **new}:
            yield from _between((*place, key), old.get(key), new.get(key), before, after)
        return
    if isinstance(old, list) and isinstance(new, list) and _named(old) and _named(new):
        yield from _named_lists(place, old, new, before, after)
        return
    if isinstance(old, list) and isinstance(new, list) and not _structured(old + new):
        for number in range(max(len(old), len(new))):
            left, right = (side[number] if number < len(side) else None for side in (old, new))
            yield from _between((*place, number), left, right, before, after)
        return
    yield Difference(place, where(place, after if new is not None else before), _text(old), _text(new))


def _named_lists(place: Place, old: Any, new: Any, before: Document, after: Document) -> Iterator[Difference]:
    olds, news = ({one["code"]: (number, one) for number, one in enumerate(side)} for side in (old, new))
    for code in {**olds, **news}:
        number, left = olds.get(code, (0, None))
        number, right = news.get(code, (number, None))
        yield from _between((*place, number), left, right, before, after)
    if list(olds) != list(news) and set(olds) == set(news):
        yield Difference(place, where(place, after), ", ".join(olds), ", ".join(news))


def _named(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, Mapping) and "code" in value for value in values)


def _structured(values: list[Any]) -> bool:
    return any(isinstance(value, Mapping | list) for value in values)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, list):
        return ", ".join(str(_text(one)) for one in value)
    return str(value)
