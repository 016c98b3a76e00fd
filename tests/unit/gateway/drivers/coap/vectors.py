"""Packs of RFC 8428 section 5 and 6 with their meaning, and numbers in CBOR with theirs."""

from decimal import Decimal

NOW_MS = 1_800_000_000_000
OW = "urn:dev:ow:10e2073a01080063"

PACKS: dict[bytes, list[tuple[str, str, int, Decimal | str | bool | bytes]]] = {
    b'[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]': [(OW, "Cel", NOW_MS, Decimal("23.1"))],
    b'[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]': [
        (f"{OW}:voltage", "V", NOW_MS, Decimal("120.1")),
        (f"{OW}:current", "A", NOW_MS, Decimal("1.2")),
    ],
    b'[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},'
    b'{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","t":-3,"v":1.4},'
    b'{"n":"current","t":-2,"v":1.5},{"n":"current","t":-1,"v":1.6},{"n":"current","v":1.7}]': [
        ("urn:dev:ow:10e2073a0108006:voltage", "V", 1_276_020_076_001, Decimal("120.1")),
        *(
            ("urn:dev:ow:10e2073a0108006:current", "A", 1_276_020_071_001 + 1_000 * step, Decimal(12 + step) / 10)
            for step in range(6)
        ),
    ],
    b'[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},{"n":"label","vs":"Machine Room"},'
    b'{"n":"open","vb":false},{"n":"nfc-reader","vd":"aGkgCg=="}]': [
        (f"{OW}:temp", "Cel", NOW_MS, Decimal("23.1")),
        (f"{OW}:label", "", NOW_MS, "Machine Room"),
        (f"{OW}:open", "", NOW_MS, False),
        (f"{OW}:nfc-reader", "", NOW_MS, b"hi \n"),
    ],
    b"[]": [],
}

CBOR_PACK = bytes.fromhex(
    "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c7461676501"
    "615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccccccda3"
    "006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a3006763757272656e74062002fb3ff999999999"
    "999aa3006763757272656e74060002fb3ffb333333333333"
)
"""The third pack as section 6 has it; its doubles are not the decimal numbers, but the nearest that there are."""

NUMBERS = {
    "05": Decimal(5),
    "182c": Decimal(44),
    "192c1a": Decimal(11290),
    "1a2c1a2319": Decimal(739910425),
    "1b2c1a23197bce72d7": Decimal(3177891079421588183),
    "25": Decimal(-6),
    "382c": Decimal(-45),
    "3b2c1a23197bce72d7": Decimal(-3177891079421588184),
    "f9480f": Decimal("8.1171875"),
    "fa403c1999": Decimal("2.9390623569488525390625"),
    "fb3ffb333333333333": Decimal("1.6999999999999999555910790149937383830547332763671875"),
    "c4822119" + "69eb": Decimal("271.15"),
    "f93c00": Decimal(1),
    "f90001": Decimal(2) ** -24,
    "f98000": Decimal("-0"),
}
