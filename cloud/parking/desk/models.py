"""What the API of the guard's desk takes and gives."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from cloud.kit.inputs import Input


class OpeningIn(Input):
    """Why a barrier is opened by hand."""

    reason: Annotated[str, Field(min_length=1, max_length=500, examples=["ambulance"])]


class OpeningOut(BaseModel):
    """The order to open."""

    command_id: UUID
