"""What people type into forms, as the models of the API take it: blanks left out, refusals that name the field."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import psycopg
from fastapi import Request
from pydantic import BaseModel, ValidationError

from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.pages import CSRF_FIELD, ONCE_FIELD

Model = TypeVar("Model", bound=BaseModel)

_OURS = (CSRF_FIELD, ONCE_FIELD)


async def typed(request: Request) -> dict[str, str]:
    """The fields of a form that were filled in."""
    form = await request.form()
    fields = {
        name: value.strip()
        for name, value in form.items()
        if isinstance(value, str) and name not in (CSRF_FIELD, ONCE_FIELD)
    }
    return {name: value for name, value in fields.items() if value}


def read(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The same as `model` understands it. Raises InvalidInput that names the field."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput("invalid-input", f"{field}: {first['msg']}", field=field) from error


def local_instant(text: str, zone: ZoneInfo, field: str) -> datetime:
    """A time as a browser's field gives it, on the clock of `zone`. Raises InvalidInput."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("bad-date", "expected a day and a time", field=field) from None
    return found.replace(tzinfo=zone) if found.tzinfo is None else found


def with_times(values: Mapping[str, str], zone: ZoneInfo, *fields: str) -> dict[str, Any]:
    """The same with these fields as instants; those that are absent stay so. Raises InvalidInput."""
    return {name: local_instant(value, zone, name) if name in fields else value for name, value in values.items()}


async def refused(conn: Conn, change: Callable[[], Awaitable[object]]) -> GatemeterError | None:
    """Does what a form asks for; the refusal, if any, is for the page to show beside what was typed.

    Of a change that was refused nothing stays, and the transaction goes on: the page can be read from it.
    """
    try:
        async with conn.transaction():
            await change()
    except GatemeterError as error:
        return error
    except psycopg.Error as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        return meaning
    return None
