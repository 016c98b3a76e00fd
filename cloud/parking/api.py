"""REST of parking, by subject."""

from cloud.kit.routing import rest_router, take_in
from cloud.parking.charging import api as charging
from cloud.parking.charging import debt_api as debts
from cloud.parking.counts import api as counts
from cloud.parking.coupons import api as coupons
from cloud.parking.coupons import shop_api as shop
from cloud.parking.desk import api as desk
from cloud.parking.fees import api as fees
from cloud.parking.lists import api as lists
from cloud.parking.permits import api as permits
from cloud.parking.permits import spaces_api as permit_spaces
from cloud.parking.pictures import api as pictures
from cloud.parking.places import api as places
from cloud.parking.reservations import api as reservations
from cloud.parking.shifts import api as shifts
from cloud.parking.spaces import api as spaces
from cloud.parking.stays import api as stays
from cloud.parking.stays import incident_api as incidents
from cloud.parking.vehicles import api as vehicles
from cloud.parking.visitors import api as visitors

router = rest_router("parking")
take_in(
    router,
    places.router,
    fees.router,
    coupons.router,
    shop.router,
    spaces.router,
    lists.router,
    vehicles.router,
    permits.router,
    permit_spaces.router,
    reservations.router,
    stays.router,
    incidents.router,
    charging.router,
    debts.router,
    visitors.router,
    counts.router,
    desk.router,
    shifts.router,
    pictures.router,
)
