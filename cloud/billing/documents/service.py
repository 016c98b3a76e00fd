"""Documents of bills as other rooms ask for them: gathers what a document says and composes it."""

from collections.abc import Iterable

from cloud.billing import service as billing
from cloud.billing.documents.composing import Material, compose
from cloud.billing.documents.model import BillDocument, Language
from cloud.billing.documents.payment_code import pay_address
from cloud.billing.records import Bill, Charge
from cloud.estate import service as estate
from cloud.kit import i18n
from cloud.kit.db import Conn
from cloud.metering import service as metering

LANGUAGES: tuple[Language, ...] = ("zh-CN", "en")


async def bill_document(
    conn: Conn, bill_id: int, language: Language, translator: i18n.Translator, public_url: str | None
) -> BillDocument:
    """The document of a bill that the asker may see. Raises NotFound."""
    (document,) = await bill_documents(conn, [bill_id], language, translator, public_url)
    return document


async def bill_documents(
    conn: Conn, bill_ids: Iterable[int], language: Language, translator: i18n.Translator, public_url: str | None
) -> list[BillDocument]:
    """The documents of bills of one project, in this order. Raises NotFound."""
    bills = [await billing.get_bill(conn, bill_id) for bill_id in bill_ids]
    if not bills:
        return []
    project = await estate.get_project(conn, bills[0].summary.project_id)
    accounts = await estate.accounts_by_id(conn, {bill.summary.account_id for bill in bills})
    meters = await metering.meters_by_id(conn, {charge.meter_id for charge in _charges(bills) if charge.meter_id})
    codes = {meter.id: meter.code for meter in meters.values()}
    found = []
    for bill in bills:
        explained = {one.charge_id: one for one in await billing.explain(conn, bill)}
        account = accounts.get(bill.summary.account_id)
        pay_at = pay_address(public_url, bill.summary.id)
        given = await billing.given(conn, bill)
        found.append(compose(Material(bill, explained, project, account, codes, pay_at, given), language, translator))
    return found


def _charges(bills: Iterable[Bill]) -> Iterable[Charge]:
    return (charge for bill in bills for charge in bill.charges)
