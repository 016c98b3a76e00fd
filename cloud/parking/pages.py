"""Pages of parking, by subject."""

from cloud.kit.routing import page_router, take_in
from cloud.parking.charging import pages as charging
from cloud.parking.coupons import login_pages as merchant_logins
from cloud.parking.coupons import pages as coupons
from cloud.parking.coupons import shop_pages as shop
from cloud.parking.desk import lane_pages
from cloud.parking.desk import pages as desk
from cloud.parking.fees import pages as fees
from cloud.parking.lists import pages as lists
from cloud.parking.permits import cards_pages as cards
from cloud.parking.permits import pages as permits
from cloud.parking.permits import spaces_pages as permit_spaces
from cloud.parking.pictures import pages as pictures
from cloud.parking.places import pages as places
from cloud.parking.reservations import pages as reservations
from cloud.parking.shifts import pages as shifts
from cloud.parking.spaces import pages as spaces
from cloud.parking.stays import incident_pages as incidents
from cloud.parking.vehicles import pages as vehicles
from cloud.parking.visitors import pages as visitors
from cloud.parking.visitors import public_pages as public

router = page_router()
take_in(
    router,
    places.router,
    fees.router,
    coupons.router,
    merchant_logins.router,
    shop.router,
    spaces.router,
    lists.router,
    vehicles.router,
    cards.router,
    permit_spaces.router,
    permits.router,
    reservations.router,
    incidents.router,
    charging.router,
    visitors.router,
    public.router,
    desk.router,
    lane_pages.router,
    shifts.router,
    pictures.router,
)
