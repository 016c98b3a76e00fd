"""What people type about moving in, moving out and the number of persons: last days as they are said, end inclusive."""

from datetime import date, timedelta
from typing import Annotated

from pydantic import Field

from cloud.estate.models import Email, IdNumber, Name, Phone
from cloud.estate.records import OccupancyRole
from cloud.kit.inputs import Day, Id, Input

Persons = Annotated[int, Field(ge=0, le=99)]


class MoveInForm(Input):
    """Who moves in: a person who is known (`person_id`), or a new one with a name."""

    person_id: Id | None = None
    name: Name | None = None
    phone: Phone | None = None
    id_number: IdNumber | None = None
    email: Email | None = None
    role: OccupancyRole
    first_day: Day
    persons: Persons | None = None

    @property
    def is_new(self) -> bool:
        """Whether the person is to be made first."""
        return self.person_id is None


class MoveOutForm(Input):
    """The last day that somebody lives there, and how many persons are left from the day after on."""

    last_day: Day
    persons: Persons | None = None

    @property
    def until(self) -> date:
        """The first day that is not his any more."""
        return self.last_day + timedelta(days=1)


class PersonsForm(Input):
    """How many persons live there from a day on."""

    persons: Persons
    from_day: Day
