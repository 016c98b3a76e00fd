"""REST: paying by a provider, what providers call back, and money that fitted no order."""

from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import Query, Request
from starlette.responses import Response

from cloud.identity.guards import Scope, allow, public
from cloud.kit.db import NOBODY, Database
from cloud.kit.errors import NotFound
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.payments import intent_repository, intents
from cloud.payments.channels.base import BadCallback, ChannelName
from cloud.payments.channels.configuration import Channels
from cloud.payments.intent_models import (
    CallbackOut,
    CallbackQuery,
    CallbackSettledIn,
    IntentIn,
    IntentOut,
    IntentQuery,
    WholeIntentOut,
)

router = rest_router("payments")

Reader = Annotated[Scope, allow("payments.read")]
Payer = Annotated[Scope, allow("payments.pay")]
Writer = Annotated[Scope, allow("payments.write")]

_log = structlog.get_logger(__name__)


def channels_of(request: Request) -> Channels:
    """The providers that are set up here."""
    found: Channels = request.app.state.payment_channels
    return found


def payer_ip(request: Request) -> str | None:
    """Where the payer's browser is, as far as we see."""
    return None if request.client is None else request.client.host


@router.get("/payment-intents")
async def list_intents(scope: Reader, query: Annotated[IntentQuery, Query()]) -> Listed[IntentOut]:
    """Attempts to pay by a provider, newest first; residents see their own."""
    page = await intents.list_intents(
        scope.conn,
        query.page(),
        project_id=query.project_id,
        account_id=query.account_id,
        state=query.state,
        channel=query.channel,
    )
    return Listed(items=[IntentOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/payment-intents/{intent_id}")
async def get_intent(scope: Reader, intent_id: Id) -> WholeIntentOut:
    """One attempt with its bills: asked again and again, it says when it is paid."""
    found = await intents.get_intent(scope.conn, intent_id)
    return WholeIntentOut.whole(found, await intents.bills_of(scope.conn, intent_id))


@router.post("/payment-intents", status_code=201)
async def ask_to_pay(request: Request, body: IntentIn, scope: Payer, once: Once) -> IntentOut:
    """Fixes what is payable now and has the provider asked for an order; its code is in `pay_at` a moment later."""

    async def make() -> IntentOut:
        wanted, available = body.wanted(payer_ip(request)), channels_of(request)
        return IntentOut.of(
            await intents.ask_to_pay(scope.conn, body.account_id, wanted, available, by=scope.caller.user_id)
        )

    return await once.answer(scope.conn, IntentOut, make)


@router.post("/payment-intents/{intent_id}/cancellations", status_code=201)
async def cancel(intent_id: Id, scope: Payer, once: Once) -> IntentOut:
    """Nobody wants to pay it any more: it is closed at the provider. What was paid meanwhile stays paid."""

    async def make() -> IntentOut:
        return IntentOut.of(await intents.cancel_intent(scope.conn, intent_id))

    return await once.answer(scope.conn, IntentOut, make)


@router.get("/payment-callbacks")
async def list_callbacks(scope: Writer, query: Annotated[CallbackQuery, Query()]) -> Listed[CallbackOut]:
    """What providers told us, newest first; `state=aside` is money that fitted no order."""
    page = await intents.list_callbacks(scope.conn, query.page(), project_id=query.project_id, state=query.state)
    return Listed(items=[CallbackOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/payment-callbacks/{callback_id}/settlements", status_code=201)
async def settle_callback(callback_id: Id, body: CallbackSettledIn, scope: Writer, once: Once) -> CallbackOut:
    """Somebody has dealt with money that fitted no order, and says how."""

    async def make() -> CallbackOut:
        return CallbackOut.of(await intents.settle_callback(scope.conn, callback_id, body.note))

    return await once.answer(scope.conn, CallbackOut, make)


@router.post("/payment-callbacks/{channel}", dependencies=[public()])
async def called_back(request: Request, channel: ChannelName) -> Response:
    """What a provider tells us: kept once it is proved to be the provider's; the worker books it."""
    adapter = channels_of(request).get(channel)
    if adapter is None:
        raise NotFound("no-such-address", "Not Found")
    try:
        told = adapter.read_callback(request.headers, await request.body(), datetime.now(UTC))
    except BadCallback as error:
        _log.warning("payments.bad_callback", channel=channel, code=error.code, detail=error.detail)
        raise
    if told.paid is not None:
        db: Database = request.app.state.db
        async with db.transaction(NOBODY) as conn:
            await intent_repository.keep_callback(conn, channel, told.event_id, told.paid)
    text, media_type = adapter.callback_answer()
    return Response(text, media_type=media_type)
