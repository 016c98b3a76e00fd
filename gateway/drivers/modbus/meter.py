"""One meter on a Modbus line: its template compiled to requests and decoders, and the visit that runs them."""

from collections.abc import Callable
from time import monotonic

from gateway.contract.quantities import Kind
from gateway.drivers.base import Group, Groups, ReadOutcome
from gateway.drivers.modbus.decoder import BlockDecoder, compile_block, field_of
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.modbus.planner import TCP_COST, ReadLimits, plan
from gateway.errors import ExceptionReply, MalformedReply, NoAnswer
from gateway.templates.modbus import ModbusTemplate, Register

Program = tuple[BlockDecoder, ...]
Programs = dict[Groups, Program]
"""Requests and decoders for each set of groups that can be due together."""


def group_of(register: Register) -> Group:
    """Cumulative registers are billing registers, all others are momentary."""
    return Group.BILLING if register.quantity.kind is Kind.CUMULATIVE else Group.INSTANT


def compile_template(template: ModbusTemplate) -> Programs:
    """All read programs of a template; shared by every device of it."""
    limits = ReadLimits(template.limits.max_registers, template.limits.refuses_holes)
    programs: Programs = {}
    for groups in (frozenset({Group.BILLING}), frozenset({Group.INSTANT}), frozenset(Group)):
        wanted = [register for register in template.registers if group_of(register) in groups]
        blocks = plan([field_of(register) for register in wanted], TCP_COST, limits)
        programs[groups] = tuple(compile_block(block, template, wanted) for block in blocks)
    return programs


class ModbusMeter:
    """Reads one unit of a line."""

    def __init__(self, device: str, unit: int, line: ModbusLine, programs: Programs) -> None:
        self.device = device
        self.groups: Groups = frozenset(group for group in Group if programs[frozenset({group})])
        self._unit = unit
        self._line = line
        self._programs = programs
        self._last_taken = 0

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """Runs the program of `groups`. Values that came before a failure are kept. Raises LineDown."""
        outcome = ReadOutcome()
        for decoder in self._programs[groups]:
            block = decoder.block
            asked = monotonic()
            try:
                registers = await self._line.read(self._unit, block.function, block.address, block.count)
            except ExceptionReply as error:
                outcome.exceptions += 1
                outcome.error = str(error)
                continue
            except MalformedReply as error:
                outcome.malformed += 1
                outcome.error = str(error)
                break
            except NoAnswer as error:
                outcome.timeouts += 1
                outcome.error = str(error)
                break
            outcome.round_trips_us.append(round((monotonic() - asked) * 1_000_000))
            readings, missing = decoder.decode(registers)
            outcome.missing += missing
            outcome.answers.append((self._taken(now_ms()), readings))
        return outcome

    def _taken(self, now: int) -> int:
        """The time of an answer; never the same twice for one device, which would make two values one."""
        self._last_taken = max(now, self._last_taken + 1)
        return self._last_taken
