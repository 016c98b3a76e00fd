"""What a template says, in words for people: one hook per protocol, generic for a protocol that has none of its own."""

from collections.abc import Iterable
from functools import singledispatch

from gateway.contract.quantities import Kind
from gateway.templates.base import DeviceTemplate, Measured
from gateway.templates.cjt188 import Cjt188Template, Value188
from gateway.templates.dlt645 import Dlt645Template, Item
from gateway.templates.modbus import ModbusTemplate, RtuPreset, TcpPreset
from gateway.templates.modbus_registers import Number, Register

PROTOCOLS = {"modbus": "Modbus", "senml": "SenML", "dlt645": "DL/T 645", "cjt188": "CJ/T 188"}
"""Names of protocols as documents write them."""

_GENERIC = frozenset(Measured.model_fields)


@singledispatch
def place(register: Measured) -> str:
    """Where the device keeps a value: all that its protocol says beside what every value has."""
    own = [name for name in type(register).model_fields if name in register.model_fields_set - _GENERIC]
    return ", ".join(f"{name} {getattr(register, name)}" for name in own)


@singledispatch
def connection(_template: DeviceTemplate) -> str:
    """How the device leaves the factory; empty when the template does not say."""
    return ""


@singledispatch
def order(_template: DeviceTemplate) -> str:
    """In which order registers and bytes make a number, where that is not the usual one."""
    return ""


@singledispatch
def limits(_template: DeviceTemplate) -> str:
    """What the device cannot bear; empty when nothing is known."""
    return ""


@singledispatch
def abilities(_template: DeviceTemplate) -> str:
    """What can be done beside reading: commands, recognising the model, several meters in one; may be empty."""
    return ""


def meaning(register: Measured) -> str:
    """What a step of the device's number is worth."""
    if register.quantity.kind is Kind.STATE:
        return ""
    scale = "" if register.scale == "1" else f"{register.scale} "
    unit = "" if register.unit == "1" else register.unit
    digits = "" if register.digits is None else f", {register.digits} digits"
    return f"{scale}{unit}".strip() + digits or "1"


@place.register
def _(register: Register) -> str:
    kind = {1: "coil", 2: "discrete input", 3: "holding", 4: "input"}[register.function]
    parts = " + ".join(_number(one, getattr(one, "scale", "1")) for one in register.terms)
    beside = [
        *([f"× 10^({_number(register.exponent)})"] if register.exponent else ()),
        *(f"× ({_number(one)})" for one in register.multipliers),
        *(f"÷ ({_number(one)})" for one in register.divisors),
        *([f"sign at {_number(register.sign)}"] if register.sign else ()),
    ]
    return " ".join((kind, parts, *beside))


@place.register(Item)
@place.register(Value188)
def _(register: Item | Value188) -> str:
    return register.where


@connection.register
def _(template: ModbusTemplate) -> str:
    presets = (template.transports.modbus_rtu, template.transports.modbus_tcp)
    return "; ".join(text for one in presets if one is not None and (text := _preset(one)))


@order.register
def _(template: ModbusTemplate) -> str:
    said = (
        *(["low word first"] if template.word_order == "little" else ()),
        *(["low byte first"] if template.byte_order == "little" else ()),
    )
    return ", ".join(said)


@limits.register
def _(template: ModbusTemplate) -> str:
    known = template.limits
    said = [
        *([f"{known.max_registers} registers a read"] if "max_registers" in known.model_fields_set else ()),
        *(["no read over gaps"] if known.refuses_holes else ()),
        *(f"never {one.first}" + (f" to {one.last}" if one.last > one.first else "") for one in known.forbidden),
        *([f"{known.pause_ms} ms between reads"] if known.pause_ms else ()),
    ]
    return ", ".join(said)


@abilities.register
def _(template: ModbusTemplate) -> str:
    controls = template.controls
    said = [
        *([f"{template.instances.count} meters in one"] if template.instances else ()),
        *(name for name in ("relay", "valve", "clock") if getattr(controls, name) is not None),
        *(["identity"] if template.identity else ()),
        *(["serial number"] if template.serial_number else ()),
    ]
    return ", ".join(said)


@abilities.register(Dlt645Template)
@abilities.register(Cjt188Template)
def _(template: Dlt645Template | Cjt188Template) -> str:
    return ", ".join(name for name, control in template.controls if control is not None)


def _preset(preset: RtuPreset | TcpPreset) -> str:
    if not preset.model_fields_set:
        return ""
    if isinstance(preset, TcpPreset):
        return f"TCP port {preset.port}, unit {preset.unit_id}"
    framing = f"{preset.data_bits}{preset.parity[0].upper()}{preset.stop_bits}"
    return f"{preset.baud_rate} baud {framing}, unit {preset.unit_id}"


def _number(number: Number, scale: str = "1") -> str:
    return " ".join(
        (
            *(() if scale == "1" else (f"{scale} ×",)),
            str(number.address),
            number.type.value,
            *_orders(number),
        )
    )


def _orders(number: Number) -> Iterable[str]:
    if number.word_order is not None:
        yield "low word first" if number.word_order == "little" else "high word first"
    if number.byte_order is not None:
        yield "low byte first" if number.byte_order == "little" else "high byte first"
    if number.counted is not None:
        yield f"bits {number.counted:#x}"
