"""What the API of a merchant's users takes and gives."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.identity.records import Login
from cloud.kit.inputs import Id, Input
from cloud.parking.charging.public_address import Place
from cloud.parking.coupons.models import BatchOut
from cloud.parking.coupons.records import Batch, Given, HandedOut, Redeemed
from cloud.parking.fees.circumstances import CouponKind
from cloud.parking.plates import PlateText


class ToGiveOut(BatchOut):
    """Coupons that can be given out today; `left`: those that nobody has yet."""

    left: int

    @classmethod
    def of_left(cls, one: Batch, left: int) -> "ToGiveOut":
        """From our record."""
        return cls(**BatchOut.of(one).model_dump(), left=left)


class GiftIn(Input):
    """A coupon for a vehicle that is inside."""

    batch_id: Id
    plate: PlateText


class GiftOut(BaseModel):
    """A coupon that counts for a vehicle now."""

    id: int
    batch_id: int
    plate: str
    code: str

    @classmethod
    def of(cls, batch_id: int, one: Redeemed) -> "GiftOut":
        """From our record."""
        return cls(id=one.id, batch_id=batch_id, plate=one.plate, code=one.code)


class HandoutIn(Input):
    """Of which coupons somebody gets one."""

    batch_id: Id


class HandoutOut(BaseModel):
    """A code that a customer hands in himself; `picture` leads him to the page where he does, if there is one."""

    id: int
    batch_id: int
    code: str
    handed_at: datetime
    used: bool
    hand_in_at: str | None
    picture: Annotated[str | None, Field(description="QR code of that page: a PNG in a data: address.")]

    @classmethod
    def of(cls, one: HandedOut, place: Place | None) -> "HandoutOut":
        """From our records."""
        return cls(
            id=one.id,
            batch_id=one.batch_id,
            code=one.code,
            handed_at=one.handed_at,
            used=one.used,
            hand_in_at=None if place is None else place.address,
            picture=None if place is None else place.picture,
        )


class GivenOut(BaseModel):
    """A coupon that a customer used; of the plate only its ends."""

    id: int
    batch_id: int
    kind: CouponKind
    value: str
    plate: str
    at: datetime

    @classmethod
    def of(cls, one: Given) -> "GivenOut":
        """From our record."""
        return cls(id=one.id, batch_id=one.batch_id, kind=one.kind, value=str(one.value), plate=one.masked, at=one.at)


class LoginIn(Input):
    """A login for somebody at the merchant's."""

    login: Annotated[str, Field(min_length=2, max_length=100, examples=["noodles.wang"])]
    display_name: Annotated[str, Field(min_length=1, max_length=100, examples=["王师傅"])]


class LoginOut(BaseModel):
    """Who may give out the coupons of a merchant."""

    user_id: int
    login: str
    display_name: str
    created_at: datetime

    @classmethod
    def of(cls, one: Login) -> "LoginOut":
        """From identity's record."""
        return cls(user_id=one.user_id, login=one.login, display_name=one.display_name, created_at=one.created_at)


class MadeLoginOut(BaseModel):
    """A login that was made. The password is told this once; a repetition of the request has none."""

    user_id: int
    login: str
    password: str


class EndedLoginOut(BaseModel):
    """A login that opens nothing any more."""

    user_id: int
