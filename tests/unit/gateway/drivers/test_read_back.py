"""An order is sent once, and only what the meter shows decides what became of it."""

from collections.abc import Awaitable, Callable

import pytest

from gateway.contract.messages import CommandState
from gateway.drivers.read_back import order_and_look
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer


def saying(*answers: str | Exception) -> Callable[[], Awaitable[str]]:
    """Gives the answers one after the other, the last one for ever."""
    left = list(answers)

    async def say() -> str:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return say


@pytest.mark.parametrize(
    ("sent", "seen", "state", "detail"),
    [
        (saying(""), saying(""), CommandState.DONE, ""),
        (saying(""), saying("old", NoAnswer("x"), ""), CommandState.DONE, ""),
        (saying(""), saying("old"), CommandState.FAILED, "the meter shows old"),
        (saying(""), saying("old", NoAnswer("silent")), CommandState.UNCERTAIN, "not read back: silent"),
        (saying(""), saying(LineDown("cut")), CommandState.UNCERTAIN, "not read back: cut"),
        (saying(""), saying(LineDown("cut"), ""), CommandState.DONE, ""),
        (saying(ExceptionReply(4, "refused: why")), saying(""), CommandState.FAILED, "refused: why"),
        (saying(NoAnswer("silent")), saying(""), CommandState.DONE, ""),
        (saying(MalformedReply("sum")), saying("old"), CommandState.FAILED,
         "the meter shows old; no proper answer to the order: sum"),
        (saying(NoAnswer("silent")), saying(MalformedReply("sum")), CommandState.UNCERTAIN,
         "not read back: sum; no proper answer to the order: silent"),
    ],
)  # fmt: skip
async def test_what_became_of_it(
    sent: Callable[[], Awaitable[str]], seen: Callable[[], Awaitable[str]], state: CommandState, detail: str
) -> None:
    outcome = await order_and_look(sent, seen, within_s=0.02, every_s=0.001)
    assert (outcome.state, outcome.detail) == (state, detail)


async def test_without_a_line_nothing_was_sent() -> None:
    with pytest.raises(LineDown):
        await order_and_look(saying(LineDown("cut")), saying(""), within_s=0.02, every_s=0.001)
