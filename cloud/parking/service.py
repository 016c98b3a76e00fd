"""The door of the parking feature: what other features, pages and the API ask of it."""

from cloud.parking.charging.debts import owing
from cloud.parking.charging.online import ask_to_pay, take_paid
from cloud.parking.charging.policy import MoneyPolicy, money_policy, set_money_policy
from cloud.parking.charging.service import let_out_waiting, pay, quote, waive
from cloud.parking.counts.counting import cars_inside
from cloud.parking.desk.openings import open_lane
from cloud.parking.fees.service import publish_rule, rules_of_lot
from cloud.parking.places.lanes import create_lane, retire_lane
from cloud.parking.places.service import (
    create_lot,
    get_lane,
    get_lot,
    list_lanes,
    list_lots,
)
from cloud.parking.stays.applying import Told, apply_passages, apply_told
from cloud.parking.stays.service import close_session, get_session, list_sessions
from cloud.parking.vehicles.service import list_vehicles, register_vehicle

__all__ = [
    "MoneyPolicy",
    "Told",
    "apply_passages",
    "apply_told",
    "ask_to_pay",
    "cars_inside",
    "close_session",
    "create_lane",
    "create_lot",
    "get_lane",
    "get_lot",
    "get_session",
    "let_out_waiting",
    "list_lanes",
    "list_lots",
    "list_sessions",
    "list_vehicles",
    "money_policy",
    "open_lane",
    "owing",
    "pay",
    "publish_rule",
    "quote",
    "register_vehicle",
    "retire_lane",
    "rules_of_lot",
    "set_money_policy",
    "take_paid",
    "waive",
]
