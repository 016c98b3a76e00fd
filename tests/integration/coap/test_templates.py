"""Every SenML template that comes with the software is proven against a meter simulated from it."""

from decimal import Decimal
from fractions import Fraction

import pytest

from gateway.templates.senml import SenmlTemplate
from simulators.coap.senml import CBOR, JSON, encode
from tests.integration.coap.lines import TEMPLATES, Recording, client, now_s, post, pushed_to, simulated


@pytest.mark.parametrize("content_format", [JSON, CBOR])
@pytest.mark.parametrize("template_id", TEMPLATES)
async def test_what_the_meter_shows_is_recorded(template_id: str, content_format: int) -> None:
    template = TEMPLATES[template_id]
    assert isinstance(template, SenmlTemplate)
    meter, recording, at = simulated(template_id), Recording(), now_s()
    expected = {}
    for register in template.registers:
        shown = meter.shown(register, at)
        if isinstance(shown, Decimal):
            expected[register.channel] = round(Fraction(shown) * Fraction(register.factor))
        else:
            expected[register.channel] = register.states[str(shown).lower()]
    async with pushed_to(recording, devices=[{"id": "x", "template": template_id}]) as line, client() as context:
        answer = await post(context, line, "m/x", encode(meter.pack([at]), content_format), content_format)
        assert answer.code.dotted == "2.04"
    assert {point.channel: point.value for point in recording.points} == expected
    assert {(point.taken_at, point.quality) for point in recording.points} == {(at * 1000, 0)}
    assert len(recording.points) == len(template.registers)
