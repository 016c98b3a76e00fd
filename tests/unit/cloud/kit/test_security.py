"""Keys, seals, blind indexes and masks."""

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.security import (
    Keys,
    KeysError,
    Sealer,
    SealError,
    mask_id_number,
    mask_phone,
    new_token,
    normalised,
    token_hash,
)

KEYS = Keys.generate()
SEALER = Sealer(KEYS)


@given(st.text())
def test_what_is_sealed_can_be_opened(text: str) -> None:
    sealed = SEALER.seal(text, "person.phone")
    assert SEALER.open(sealed, "person.phone") == text
    assert sealed != SEALER.seal(text, "person.phone")


@given(st.text(min_size=1), st.data())
def test_any_changed_byte_is_noticed(text: str, data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(text, "person.phone"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealError):
        SEALER.open(bytes(sealed), "person.phone")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" * 12, b"\x07" * 40])
def test_rubbish_is_no_seal(sealed: bytes) -> None:
    with pytest.raises(SealError):
        SEALER.open(sealed, "person.phone")


def test_a_value_cannot_be_moved_to_another_column() -> None:
    with pytest.raises(SealError, match=r"person\.id_number"):
        SEALER.open(SEALER.seal("13800138000", "person.phone"), "person.id_number")


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    old = SEALER.seal("x", "a.b")
    both = Sealer(Keys({**KEYS.seal, 2: b"\x02" * 32}, KEYS.blind_index, "k", KEYS.command_private_key))
    assert both.open(old, "a.b") == "x"
    assert both.seal("x", "a.b")[0] == 2


@pytest.mark.parametrize("phone", ["13800138000", "138 0013 8000", "+86 138-0013-8000", "0086 13800138000"])
def test_one_phone_has_one_index_however_it_is_written(phone: str) -> None:
    assert normalised("phone", phone) == "13800138000"
    assert SEALER.blind_index("phone", phone) == SEALER.blind_index("phone", "13800138000")


def test_foreign_and_landline_numbers_keep_their_digits() -> None:
    assert normalised("phone", "+49 (30) 901820") == "4930901820"
    assert normalised("phone", "0755-8612345") == "07558612345"


def test_indexes_of_kinds_and_keys_differ() -> None:
    assert SEALER.blind_index("phone", "110101") != SEALER.blind_index("id_number", "110101")
    assert SEALER.blind_index("phone", "1") != Sealer(Keys.generate()).blind_index("phone", "1")
    assert SEALER.blind_index("id_number", "1101 x") == SEALER.blind_index("id_number", "1101X")


def test_masks_show_only_the_ends() -> None:
    assert mask_phone("13800138000") == "138****8000"
    assert mask_id_number("11010119900307741X") == "1101**********741X"
    assert mask_phone("12345") == "*****"
    assert mask_id_number("1234567890") == "**********"


def test_tokens_are_random_and_kept_as_hash() -> None:
    assert new_token() != new_token()
    assert len(base64.urlsafe_b64decode(new_token() + "=")) == 32
    assert len(token_hash("x")) == 32


def test_keys_survive_their_file_and_show_in_no_repr(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KEYS.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Keys.load(path) == KEYS
    assert "private" not in repr(KEYS)
    assert repr(KEYS.blind_index) not in repr(KEYS)


def test_the_public_key_verifies_what_the_signer_signs() -> None:
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(KEYS.command_public_key()))
    public.verify(KEYS.command_signer().sign(b"open"), b"open")


def test_existing_keys_are_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KEYS.save(path)
    with pytest.raises(FileExistsError):
        Keys.generate().save(path)
    assert Keys.load(path) == KEYS


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    KEYS.save(path)
    path.chmod(mode)
    with pytest.raises(KeysError, match="expected mode 0600"):
        Keys.load(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "content"),
        ("[]", "content"),
        ("{}", "seal"),
        ('{"seal": {}, "blind_index": "", "command": {}}', "seal"),
        ('{"seal": {"300": "AAAA"}}', "seal"),
        ('{"seal": {"1": "AAAA"}}', r"seal\.1"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "keys.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(KeysError, match=rf"keys\.json: {expected}"):
        Keys.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="expected a readable keys file"):
        Keys.load(tmp_path / "none")
