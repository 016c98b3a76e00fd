"""Whatever bytes a meter puts into an item, decoding gives readings inside 64 bits or says that they are malformed."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import limits
from gateway.drivers.base import Group
from gateway.drivers.cjt188 import decoder as cjt188_decoder
from gateway.drivers.dlt645 import decoder as dlt645_decoder
from gateway.errors import MalformedReply
from tests.templates import cjt188, dlt645, ids_of

ALL = frozenset(Group)
ITEMS = {
    **{
        f"{one} {item.id}": (item.decode, item.expected_bytes)
        for one in ids_of("dlt645")
        for item in dlt645_decoder.compile_template(dlt645(one))[ALL]
    },
    **{
        f"{one} {item.id}": (item.decode, item.length)
        for one in ids_of("cjt188")
        for item in cjt188_decoder.compile_template(cjt188(one))[ALL]
    },
}
DIGITS = st.integers(0, 99).map(lambda number: int(f"{number:02}", 16))
BYTES = st.one_of(DIGITS, st.sampled_from([0xFF, 0x2C, 0x05]), st.integers(0, 255))


@given(st.sampled_from(list(ITEMS)), st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    decode, length = ITEMS[name]
    right_length = st.lists(BYTES, min_size=length, max_size=length).map(bytes)
    with suppress(MalformedReply):
        readings, missing = decode(data.draw(right_length | st.binary(max_size=64)))
        assert missing >= 0
        assert all(limits.MIN_VALUE <= reading.value <= limits.MAX_VALUE for reading in readings)
