"""Where people pay who are not signed in: the address on signs, and on tickets of vehicles without a plate."""

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Request

from cloud.billing.documents.payment_code import as_png_uri
from cloud.kit.db import Conn
from cloud.parking.charging.policy import money_policy


@dataclass(frozen=True, slots=True)
class Place:
    """An address, and its QR code as a PNG picture in a `data:` address."""

    address: str
    picture: str


async def page_address(request: Request, conn: Conn, project_id: int) -> str | None:
    """The page of a project where one pays by plate; None where the project has none."""
    code = (await money_policy(conn, project_id)).public_code
    base = (request.app.state.settings.public_url or str(request.base_url)).rstrip("/")
    return None if code is None else f"{base}/park/{code}"


async def place_for(request: Request, conn: Conn, project_id: int, **known: str) -> Place | None:
    """The same page with what is known filled in (`ticket`, `coupon`); None where the project has none."""
    page = await page_address(request, conn, project_id)
    if page is None:
        return None
    address = f"{page}?{urlencode(known)}" if known else page
    return Place(address, as_png_uri(address))
