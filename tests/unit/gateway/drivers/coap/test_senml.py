"""SenML means what RFC 8428 says, in both notations, to the last digit."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.coap.errors import BadPayload, PayloadTooLarge
from gateway.drivers.coap.senml import CBOR, JSON, MAX_BYTES, MAX_RECORDS, Record, decode
from simulators.coap.senml import Fields, Value, encode, encode_cbor, encode_json
from tests.unit.gateway.drivers.coap.vectors import CBOR_PACK, NOW_MS, NUMBERS, PACKS


def one(text: str) -> Record:
    (record,) = decode(text.encode(), JSON, NOW_MS)
    return record


@pytest.mark.parametrize("payload", PACKS)
def test_packs_of_the_rfc(payload: bytes) -> None:
    records = decode(payload, JSON, NOW_MS)
    assert [(record.name, record.unit, record.at_ms, record.value) for record in records] == PACKS[payload]


def test_the_pack_of_the_rfc_in_cbor() -> None:
    records = decode(CBOR_PACK, CBOR, NOW_MS)
    expected = list(PACKS.values())[2]
    assert [(record.name, record.unit, record.at_ms) for record in records] == [row[:3] for row in expected]
    assert [record.value for record in records] == [Decimal(float(str(row[3]))) for row in expected]
    assert decode(b"\x80", CBOR, NOW_MS) == []


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_in_cbor(text: str) -> None:
    (record,) = decode(b"\x81\xa2\x00\x61x\x02" + bytes.fromhex(text), CBOR, NOW_MS)
    assert isinstance(record.value, Decimal)
    assert record.value == NUMBERS[text]


def test_base_fields_hold_until_the_next_of_their_kind() -> None:
    pack = (
        b'[{"bn":"a:","bt":2000000000,"bu":"l","bv":10,"bs":100},{"n":"x","v":1},{"n":"y","u":"m3","v":2,"s":5},'
        b'{"bn":"b:","bv":-1,"n":"x","t":1,"v":0.5},{"n":"z","vs":"on","s":1},{"bt":0,"n":"x","v":0}]'
    )
    assert decode(pack, JSON, NOW_MS) == [
        Record("a:x", "x", "l", 2_000_000_000_000, True, Decimal(11)),
        Record("a:y", "y", "m3", 2_000_000_000_000, True, Decimal(12), Decimal(105)),
        Record("b:x", "x", "l", 2_000_000_001_000, True, Decimal("-0.5")),
        Record("b:z", "z", "l", 2_000_000_000_000, True, "on", Decimal(101)),
        Record("b:x", "x", "l", NOW_MS, False, Decimal(-1)),
    ]


@pytest.mark.parametrize(
    ("time", "at_ms", "absolute"),
    [
        ("0", NOW_MS, False),
        ("-3600", NOW_MS - 3_600_000, False),
        ("-0.0005", NOW_MS, False),
        ("-0.0015", NOW_MS - 2, False),
        ("268435455.999", NOW_MS + 268_435_455_999, False),
        ("268435456", 268_435_456_000, True),
        ("1.7e9", 1_700_000_000_000, True),
        ("1700000000.0004999999999999999999999999", 1_700_000_000_000, True),
    ],
)
def test_small_times_are_from_now(time: str, at_ms: int, absolute: bool) -> None:
    record = one(f'[{{"n":"x","v":1,"t":{time}}}]')
    assert (record.at_ms, record.absolute) == (at_ms, absolute)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{}", "payload: expected an array"),
        ("[1]", "record 0: expected a map"),
        ("[{}]", "record 0 n: expected 1 to 256"),
        ('[{"n":"x"}]', "record 0: expected exactly one of v, vs, vb, vd, or an s; found none"),
        ('[{"n":"x","v":1,"vb":true}]', "found v, vb"),
        ('[{"v":1}]', "record 0 n: expected 1 to 256"),
        ('[{"n":"x y","v":1}]', "record 0 n: expected 1 to 256"),
        ('[{"bn":"%s","v":1}]' % ("x" * 257), "record 0 bn: expected text of at most 256"),
        ('[{"n":"x","v":"1"}]', "record 0 v: expected a number"),
        ('[{"n":"x","v":true}]', "record 0 v: expected a number"),
        ('[{"n":"x","v":NaN}]', "number NaN: expected a JSON number"),
        ('[{"n":"x","v":1e401}]', "number 1e401: expected at most 64 characters"),
        ('[{"n":"x","v":1e99999999999999999999}]', "expected at most 64 characters"),
        ('[{"n":"x","v":1%s}]' % ("0" * 64), "expected at most 64 characters"),
        ('[{"n":"x","vb":1}]', "record 0 vb: expected true or false"),
        ('[{"n":"x","vs":1}]', "record 0 vs: expected text"),
        ('[{"n":"x","vd":"?"}]', "record 0 vd: expected bytes in base64url"),
        ('[{"n":"x","u":7,"v":1}]', "record 0 u: expected text of at most 32"),
        ('[{"n":"x","v":1,"n":"y"}]', "expected each label once"),
        ('[{"n":"x","v":1,"mandatory_":0}]', "record 0 'mandatory_': expected no label that must be understood"),
        ('[{"bver":11,"n":"x","v":1}]', "record 0 bver: expected a version from 1 to 10"),
        ('[{"bver":1.5,"n":"x","v":1}]', "record 0 bver: expected a version from 1 to 10"),
        ('[{"n":"x","v":1}', "character 16: expected JSON"),
        ("[" * 100_000, "payload: expected at most 65536 bytes"),
        ("[" * 9 + "]" * 9, "payload: expected nesting of at most 8"),
        ('["\xff"]', "record 0: expected a map"),
    ],
)
def test_what_is_wrong_is_said(text: str, complaint: str) -> None:
    with pytest.raises(BadPayload) as caught:
        decode(text.encode(), JSON, NOW_MS)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"\xff[]", "payload: expected text in UTF-8"),
        ("[]".encode("utf-16"), "payload: expected text in UTF-8"),
    ],
)
def test_json_is_utf_8(payload: bytes, complaint: str) -> None:
    with pytest.raises(BadPayload, match=complaint):
        decode(payload, JSON, NOW_MS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("81a2616e61780201", "record 0 'n': expected the integer label of CBOR"),
        ("81a20061780861" + "61", "record 0 vd: expected bytes"),
        ("81a30061780201625f5f00", "record 0 '__': expected no label that must be understood"),
        ("81a200617802f6", "record 0 v: expected a number"),
        ("81a30061780201" + "06f97e00", "record 0 t: expected a number"),
        ("81a30061780201" + "24f97c00", "record 0 bv: expected a number"),
    ],
)
def test_what_is_wrong_in_cbor_is_said(text: str, complaint: str) -> None:
    with pytest.raises(BadPayload) as caught:
        decode(bytes.fromhex(text), CBOR, NOW_MS)
    assert complaint in str(caught.value)


def test_other_labels_are_passed_over() -> None:
    assert one('[{"n":"x","v":1,"other":[{"deep":null}],"ut":60}]').value == 1
    (record,) = decode(bytes.fromhex("81a4006178020119" + "0100" + "80" + "6161" + "a0"), CBOR, NOW_MS)
    assert record.value == 1


def test_not_a_number_stays_what_it_is() -> None:
    for bits, check in (("f97e00", Decimal.is_nan), ("f97c00", Decimal.is_infinite)):
        pack = bytes.fromhex("81a3240500617802" + bits)
        value = decode(pack, CBOR, NOW_MS)[0].value
        assert isinstance(value, Decimal)
        assert check(value)


def test_size_is_judged_before_anything_else() -> None:
    with pytest.raises(PayloadTooLarge, match="at most 65536 bytes"):
        decode(b"\xff" * (MAX_BYTES + 1), JSON, NOW_MS)
    record: Fields = {"n": "x", "v": 1}
    assert len(decode(encode_cbor([record] * MAX_RECORDS), CBOR, NOW_MS)) == MAX_RECORDS
    with pytest.raises(PayloadTooLarge, match="at most 2000 records"):
        decode(encode_cbor([record] * (MAX_RECORDS + 1)), CBOR, NOW_MS)


_DECIMALS = st.builds(
    lambda mantissa, exponent: Decimal(mantissa).scaleb(exponent), st.integers(-(10**18), 10**18), st.integers(-30, 5)
)
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_NAMES = st.text("abcXYZ019:./_-", min_size=1, max_size=20)
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)


@st.composite
def packs(draw: st.DrawFn, numbers: "st.SearchStrategy[Value]") -> list[Fields]:
    pack: list[Fields] = []
    for _ in range(draw(st.integers(1, 6))):
        fields: dict[str, Value] = {"n": draw(_NAMES)}
        for label, values in (
            ("bn", _NAMES), ("bt", numbers), ("bu", _TEXTS), ("bv", numbers), ("bs", numbers),
            ("u", _TEXTS), ("t", numbers), ("s", numbers), ("ut", numbers), ("other", _TEXTS),
        ):  # fmt: skip
            if draw(st.booleans()):
                fields[label] = draw(values)
        kind = draw(st.sampled_from(("v", "vs", "vb", "vd")))
        fields[kind] = draw({"v": numbers, "vs": _TEXTS, "vb": st.booleans(), "vd": st.binary(max_size=9)}[kind])
        pack.append(fields)
    return pack


def meant(pack: list[Fields]) -> list[tuple[object, ...]]:
    """What a pack means, worked out with fractions."""
    base: dict[str, Value] = {}
    rows: list[tuple[object, ...]] = []
    for fields in pack:
        base |= {label: value for label, value in fields.items() if label[0] == "b"}
        time = _sum(fields, "t", base, "bt")
        kind = next(kind for kind in ("v", "vs", "vb", "vd") if kind in fields)
        rows.append(
            (
                str(base.get("bn", "")) + str(fields["n"]),
                fields.get("u") or base.get("bu", ""),
                round(time * 1000) + (NOW_MS if time < 2**28 else 0),
                _sum(fields, "v", base, "bv") if kind == "v" else fields[kind],
                _sum(fields, "s", base, "bs") if "s" in fields else None,
            )
        )
    return rows


def _sum(fields: Fields, label: str, base: Fields, base_label: str) -> Fraction:
    value, added = fields.get(label, 0), base.get(base_label, 0)
    assert not isinstance(value, str | bytes)
    assert not isinstance(added, str | bytes)
    return Fraction(value) + Fraction(added)


def told(records: list[Record]) -> list[tuple[object, ...]]:
    return [
        (
            record.name,
            record.unit,
            record.at_ms,
            Fraction(record.value) if isinstance(record.value, Decimal) else record.value,
            None if record.sum is None else Fraction(record.sum),
        )
        for record in records
    ]


@given(packs(_INTEGERS | _DECIMALS))
def test_json_and_cbor_mean_the_same_to_the_last_digit(pack: list[Fields]) -> None:
    assert told(decode(encode_json(pack), JSON, NOW_MS)) == meant(pack)
    assert told(decode(encode_cbor(pack), CBOR, NOW_MS)) == meant(pack)


@given(packs(_FLOATS))
def test_doubles_are_added_exactly(pack: list[Fields]) -> None:
    assert told(decode(encode_cbor(pack), CBOR, NOW_MS)) == meant(pack)


@given(st.sampled_from((JSON, CBOR)), st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content_format: int, payload: bytes) -> None:
    try:
        decode(payload, content_format, NOW_MS)
    except BadPayload as refusal:
        str(refusal).encode()  # goes back to the device as text


_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("bn", "bt", "n", "u", "v", "vs", "t", "x_", "\ud800_", "y")), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(_JSON_VALUES)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        decode(json.dumps(value).encode(), JSON, NOW_MS)
    except BadPayload as refusal:
        str(refusal).encode()


@given(packs(_INTEGERS | _DECIMALS), st.sampled_from((JSON, CBOR)), st.data())
def test_a_damaged_pack_is_read_or_refused(pack: list[Fields], content_format: int, data: st.DataObject) -> None:
    payload = bytearray(encode(pack, content_format))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    del payload[data.draw(st.integers(0, len(payload))) :]
    try:
        decode(bytes(payload), content_format, NOW_MS)
    except BadPayload as refusal:
        str(refusal).encode()
