"""Rules of gateways, devices, bindings and commands."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cloud.devices import access, bindings, gaps, inbox, orders, repository, states
from cloud.devices.inbox import Letter, UnclaimedPlace
from cloud.devices.records import (
    ONLINE_WITHIN,
    Binding,
    Command,
    CommandFilter,
    DeadLetter,
    Device,
    DeviceCounts,
    DeviceKind,
    Gateway,
    InboxFilter,
    ReadingGap,
    Unclaimed,
    Wish,
)
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.paging import Page, PageRequest
from gateway.contract.messages import Action, Gap, Health
from gateway.contract.orders import OPTIONAL, arguments_flaw
from gateway.contract.topics import valid_code

CLAIM_READINGS = "metering.claim-readings"
"""Job kind: a device was made or bound, and readings of it wait. Payload: `project_id`."""

WAITING = InboxFilter()
"""What nobody has decided about and no replay has placed, in all projects."""

_LONGEST_VALIDITY = timedelta(days=1)


async def create_gateway(conn: Conn, project_id: int, code: str, name: str) -> Gateway:
    """Registers a gateway. Its code is unique in the project."""
    _check_code(code)
    return await get_gateway(conn, await repository.insert_gateway(conn, project_id, code, name))


async def get_gateway(conn: Conn, gateway_id: int) -> Gateway:
    """Raises NotFound."""
    found = await repository.gateway(conn, gateway_id)
    if found is None:
        raise NotFound("no-gateway", f"there is no gateway {gateway_id}")
    return found


async def list_gateways(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[Gateway]:
    """Gateways by id."""
    return await repository.gateways(conn, page, project_id)


async def create_device(
    conn: Conn, project_id: int, gateway_id: int, code: str, kind: DeviceKind, template: str = ""
) -> Device:
    """Registers a device of a gateway; readings that came before are claimed as soon as a meter is bound."""
    _check_code(code)
    gateway = await repository.gateway(conn, gateway_id)
    # Before the lock: nobody holds up a gateway that he cannot see.
    if gateway is None or gateway.project_id != project_id:
        raise NotFound("no-gateway", f"project {project_id} has no gateway {gateway_id}", field="gateway_id")
    await repository.lock_for_change(conn, gateway_id)
    device_id = await repository.insert_device(conn, project_id, gateway_id, code, kind, template)
    await _claim_what_waits(conn, project_id, gateway_id, code)
    return await get_device(conn, device_id)


async def get_device(conn: Conn, device_id: int) -> Device:
    """Raises NotFound."""
    found = await repository.device(conn, device_id)
    if found is None:
        raise NotFound("no-device", f"there is no device {device_id}", field="device_id")
    return found


async def devices_by_id(conn: Conn, device_ids: Collection[int]) -> dict[int, Device]:
    """Those of these devices that there are."""
    return await repository.devices_by_id(conn, device_ids)


async def get_device_by_code(conn: Conn, project_id: int, gateway_code: str, code: str) -> Device | None:
    """The device as it is named on the wire, or None."""
    return await repository.device_by_code(conn, project_id, gateway_code, code)


async def ids_by_name(conn: Conn, project_id: int, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Ids of devices by (gateway, device) as they are named on the wire; unknown ones are left out."""
    return await repository.ids_by_name(conn, project_id, sorted(names))


async def list_devices(
    conn: Conn, page: PageRequest, project_id: int | None = None, gateway_id: int | None = None
) -> Page[Device]:
    """Devices by id."""
    return await repository.devices(conn, page, project_id, gateway_id)


async def device_counts(conn: Conn, project_id: int, now: datetime) -> DeviceCounts:
    """How many devices of a project are online, late, or were never heard of."""
    return await repository.counts(conn, project_id, now - ONLINE_WITHIN)


async def bind(
    conn: Conn, device_id: int, meter_id: int, valid_from: datetime, valid_until: datetime | None = None
) -> int:
    """From `valid_from` on the device's readings are the meter's; returns the binding's id.

    Readings of that time which wait unclaimed are claimed by a job that starts when the transaction commits.
    Raises NotFound, and Conflict for two meters of a device, or two devices of a meter, at one time.
    """
    if valid_from.tzinfo is None or (valid_until is not None and valid_until <= valid_from):
        raise InvalidInput("bad-period", "expected times with a zone, the end after the start", field="valid_until")
    device = await get_device(conn, device_id)
    await repository.lock_for_change(conn, device.gateway_id)
    await bindings.refuse_overlap(conn, device_id, meter_id, valid_from, valid_until)
    binding = await repository.insert_binding(conn, device.project_id, device_id, meter_id, valid_from, valid_until)
    await _claim_what_waits(conn, device.project_id, device.gateway_id, device.code)
    return binding


async def queue_command(
    conn: Conn,
    project_id: int,
    device_id: int,
    action: Action,
    arguments: Mapping[str, str],
    actor: str,
    reason: str,
    valid_for: timedelta,
    order_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Queues a command; the downlink signs and publishes it after the commit.

    `order_id` tells a repeated wish from a second one: the same again queues nothing. Raises NotFound, InvalidInput,
    and Conflict when the gateway says that the device cannot do it or when the id is that of another order.
    """
    wish = Wish(device_id, action, arguments, actor, reason, valid_for)
    device = await get_device(conn, device_id)
    order = _order(project_id, wish, device, await get_gateway(conn, device.gateway_id), order_id)
    if not await orders.insert(conn, [order]):
        await _refuse_another(conn, order)
    return order.id


async def queue_commands(conn: Conn, project_id: int, wishes: Sequence[Wish]) -> list[uuid.UUID | Conflict]:
    """Queues a command for each wish, all together; a Conflict in place of the id where the device cannot do it.

    Raises what else `queue_command` raises, for the first wish that is wrong.
    """
    known = await repository.devices_by_id(conn, {wish.device_id for wish in wishes})
    gateways = await repository.gateways_by_id(conn, {device.gateway_id for device in known.values()})
    answers: list[uuid.UUID | Conflict] = []
    queued: list[orders.Order] = []
    for wish in wishes:
        device = known.get(wish.device_id)
        if device is None:
            raise NotFound("no-device", f"there is no device {wish.device_id}", field="device_id")
        try:
            queued.append(_order(project_id, wish, device, gateways[device.gateway_id]))
        except Conflict as error:
            answers.append(error)
        else:
            answers.append(queued[-1].id)
    if queued:
        await orders.insert(conn, queued)
    return answers


def _order(
    project_id: int, wish: Wish, device: Device, gateway: Gateway, order_id: uuid.UUID | None = None
) -> orders.Order:
    """The order that is to be queued. Raises InvalidInput, NotFound, and Conflict when the device cannot do it."""
    flaw = arguments_flaw(wish.action, wish.arguments)
    if flaw is not None:
        raise InvalidInput("bad-arguments", flaw, field="arguments")
    if not timedelta(seconds=1) <= wish.valid_for <= _LONGEST_VALIDITY:
        raise InvalidInput("bad-validity", "expected 1 second to 1 day", field="valid_for_s")
    if device.project_id != project_id:
        raise NotFound("no-device", f"there is no device {device.id} in project {project_id}", field="device_id")
    can: Collection[Action] = actions_told(gateway).get(device.code, ())
    if wish.action not in can and (can or wish.action in OPTIONAL):
        raise Conflict("cannot", f"the gateway says that {device.code} cannot {wish.action}")
    return orders.Order(
        order_id or uuid.uuid4(), project_id, device.id, wish.action.value, dict(wish.arguments), wish.reason,
        wish.actor, int(wish.valid_for.total_seconds()),
    )  # fmt: skip


def actions_told(gateway: Gateway) -> dict[str, frozenset[Action]]:
    """What the devices of a gateway can be told to do, by code, as it said in its last report; actions known here."""
    if gateway.health is None:
        return {}
    known = {action.value: action for action in Action}
    return {
        device.device: frozenset(known[action] for action in device.actions if action in known)
        for device in gateway.health.devices
    }


async def that_can(conn: Conn, device_ids: Collection[int], action: Action) -> frozenset[int]:
    """Those of these devices of which their gateways say that they can do it."""
    known = await repository.devices_by_id(conn, device_ids)
    gateways = await repository.gateways_by_id(conn, {device.gateway_id for device in known.values()})
    told = {
        (gateway.id, code)
        for gateway in gateways.values()
        for code, can in actions_told(gateway).items()
        if action in can
    }
    return frozenset(device.id for device in known.values() if (device.gateway_id, device.code) in told)


async def get_command(conn: Conn, command_id: uuid.UUID) -> Command:
    """Raises NotFound."""
    found = await orders.one(conn, command_id)
    if found is None:
        raise NotFound("no-command", f"there is no command {command_id}")
    return found


async def withdraw_command(conn: Conn, command_id: uuid.UUID, why: str) -> bool:
    """Takes back a command that no gateway has reported of: it is not published any more.

    One that was published before may still be carried out until it expires; then the gateway's report is what holds.
    False when a gateway has taken it already.
    """
    return await orders.withdraw(conn, command_id, why)


async def list_commands(conn: Conn, page: PageRequest, wanted: CommandFilter) -> Page[Command]:
    """Commands, newest first."""
    return await orders.newest(conn, page, wanted)


async def list_dead_letters(conn: Conn, page: PageRequest, wanted: InboxFilter = WAITING) -> Page[DeadLetter]:
    """Messages that could not be taken, newest first; those that wait unless others are asked for."""
    return await inbox.letters(conn, page, wanted)


async def list_unclaimed(conn: Conn, page: PageRequest, wanted: InboxFilter = WAITING) -> Page[Unclaimed]:
    """Readings without a place, counted by channel; those that wait unless others are asked for."""
    return await inbox.unclaimed(conn, page, wanted)


async def list_gaps(
    conn: Conn,
    page: PageRequest,
    project_id: int | None = None,
    gateway_id: int | None = None,
    since: datetime | None = None,
) -> Page[ReadingGap]:
    """What gateways gave up and told about (from `since` on), last received first."""
    return await gaps.newest(conn, page, project_id, gateway_id, since)


# What ingest calls


async def apply_results(conn: Conn, told: orders.Results) -> int:
    """Moves commands of these gateways' devices forward as reported, together; returns how many moved."""
    return await orders.move(conn, told)


async def apply_health(conn: Conn, gateway_id: int, health: Health) -> None:
    """Keeps the newest health report of a gateway, and what it tells of its devices and to know of vehicles."""
    await apply_signs_of_life(conn, {}, [(gateway_id, health)])


async def apply_signs_of_life(conn: Conn, seen_ms: Mapping[int, int], reports: Sequence[tuple[int, Health]]) -> None:
    """Keeps when devices (by id) were heard of by their readings, as stamped at the edge in milliseconds since 1970,
    and the health reports of gateways (by id): all of a transaction at once, so that no two of them wait in a circle.
    """
    await states.devices_seen(conn, seen_ms, reports)
    for gateway_id, health in reports:
        await states.keep_health(conn, gateway_id, health)
        await access.note_held(conn, gateway_id, health.access)


async def now_ms(conn: Conn) -> int:
    """The time by which commands are issued and expire, in milliseconds since 1970."""
    return await states.now_ms(conn)


async def keep_gaps(conn: Conn, project_id: int, gateway_id: int, found: Sequence[Gap]) -> None:
    """Keeps what a gateway gave up; told again, it changes nothing."""
    await gaps.keep(conn, project_id, gateway_id, found)


async def resolve_gateways(conn: Conn, names: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Gateway ids by (project id, code). Their devices and bindings stay as they are until the transaction ends."""
    found = await repository.resolve(conn, sorted(names))
    await repository.lock_for_lookup(conn, list(found.values()))
    return found


async def bindings_of(conn: Conn, keys: Sequence[tuple[int, str]]) -> list[Binding]:
    """Which meter each (gateway id, device code) carries, and when. Call `resolve_gateways` before."""
    return await repository.bindings(conn, keys)


async def note_gateways_seen(conn: Conn, gateway_ids: Iterable[int]) -> None:
    """Remembers that these gateways were heard of now."""
    await states.gateways_seen(conn, sorted(gateway_ids))


async def keep_dead_letters(conn: Conn, letters: Sequence[Letter]) -> None:
    """Keeps messages that cannot be taken; the same payload again is only counted."""
    await inbox.keep_letters(conn, letters)


async def dead_letters_to_replay(
    conn: Conn, wanted: InboxFilter, after: int, limit: int
) -> list[tuple[int, str, bytes]]:
    """(id, topic, payload) of letters behind the id `after`."""
    return await inbox.letters_to_replay(conn, wanted, after, limit)


async def note_tried(conn: Conn, letter_id: int, letter: Letter) -> None:
    """The letter was replayed in vain; `letter` says why this time."""
    await inbox.note_tried(conn, letter_id, letter)


async def mark_replayed(conn: Conn, letter_id: int) -> None:
    """The letter found its place after all."""
    await inbox.mark_replayed(conn, letter_id)


async def keep_unclaimed(conn: Conn, columns: dict[str, list[Any]]) -> int:
    """Keeps readings that no meter can take yet; returns how many were new. Columns as `inbox` names them."""
    return await inbox.keep_unclaimed(conn, columns)


async def take_unclaimed(conn: Conn, wanted: InboxFilter, after: UnclaimedPlace, limit: int) -> list[dict[str, Any]]:
    """Takes readings out of the unclaimed ones; the caller stores each of them in the same transaction."""
    return await inbox.take_unclaimed(conn, wanted, after, limit)


async def _claim_what_waits(conn: Conn, project_id: int, gateway_id: int, device_code: str) -> None:
    if await inbox.has_unclaimed(conn, gateway_id, device_code):
        await enqueue(
            conn, CLAIM_READINGS, {"project_id": project_id}, project_id=project_id, dedupe_key=f"gateway-{gateway_id}"
        )


async def _refuse_another(conn: Conn, order: orders.Order) -> None:
    """Nobody is told that an order was given when its id is that of another one, which alone is carried out."""
    known = await orders.one(conn, order.id)
    if known is None or (known.device_id, known.action) != (order.device_id, order.action):
        raise Conflict("key-reused", "another order has this id already")


def _check_code(code: str) -> None:
    if not valid_code(code):
        raise InvalidInput("bad-code", "expected 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit",
                           field="code")  # fmt: skip
