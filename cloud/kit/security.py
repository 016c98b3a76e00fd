"""Keys, sealed fields, blind indexes, random tokens, and how personal data is masked for display."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

IndexKind = Literal["phone", "id_number"]

_NONCE_BYTES = 12
_KEY_BYTES = 32
_OTHERS = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
_CHINA_MOBILE_DIGITS = 11


class KeysError(RuntimeError):
    """The keys file cannot be used; the message names the file and the expectation."""


class SealError(RuntimeError):
    """A sealed value was changed, moved to another column, or sealed with a key that is not in the keys file."""


_Key = Annotated[Base64Bytes, Field(min_length=_KEY_BYTES, max_length=_KEY_BYTES)]


class _CommandKeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    private_key: _Key


class _KeysFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seal: Annotated[dict[Annotated[int, Field(ge=1, le=255)], _Key], Field(min_length=1)]
    blind_index: _Key
    command: _CommandKeyFile


@dataclass(frozen=True, slots=True)
class Keys:
    """Every secret of the cloud. Shown by no `repr`."""

    seal: dict[int, bytes] = field(repr=False)
    """AES-256 keys by version, 1 to 255. The highest version seals; all of them open."""
    blind_index: bytes = field(repr=False)
    command_key_id: str
    command_private_key: bytes = field(repr=False)
    """Raw Ed25519 private key that signs commands to gateways."""

    @classmethod
    def generate(cls) -> Self:
        """Fresh random keys."""
        return cls(
            seal={1: secrets.token_bytes(_KEY_BYTES)},
            blind_index=secrets.token_bytes(_KEY_BYTES),
            command_key_id=f"cloud-{secrets.token_hex(4)}",
            command_private_key=Ed25519PrivateKey.generate().private_bytes_raw(),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a keys file. Raises KeysError when it is missing, open to others or not as expected."""
        try:
            mode = path.stat().st_mode
            text = path.read_text("utf-8")
        except OSError as error:
            raise KeysError(f"{path}: expected a readable keys file ({error.strerror})") from error
        if mode & _OTHERS:
            raise KeysError(f"{path}: expected mode 0600, found {stat.S_IMODE(mode):04o}, which others may use")
        try:
            content = _KeysFile.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise KeysError(f"{path}: {where or 'content'}: {first['msg']}") from None
        return cls(
            seal=dict(content.seal),
            blind_index=content.blind_index,
            command_key_id=content.command.key_id,
            command_private_key=content.command.private_key,
        )

    def save(self, path: Path) -> None:
        """Writes a new file of mode 0600. Raises FileExistsError rather than replace keys that sealed something."""
        content: dict[str, Any] = {
            "seal": {str(version): _b64(key) for version, key in sorted(self.seal.items())},
            "blind_index": _b64(self.blind_index),
            "command": {"key_id": self.command_key_id, "private_key": _b64(self.command_private_key)},
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())

    def command_signer(self) -> Ed25519PrivateKey:
        """The key object that signs commands."""
        return Ed25519PrivateKey.from_private_bytes(self.command_private_key)

    def command_public_key(self) -> str:
        """Raw public key in base64, as a gateway's site file wants it under `cloud_keys`."""
        return _b64(self.command_signer().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


class Sealer:
    """Seals single fields with AES-256-GCM; `context` ("table.column") binds a value to its column."""

    def __init__(self, keys: Keys) -> None:
        self._ciphers = {version: AESGCM(key) for version, key in keys.seal.items()}
        self._newest = max(keys.seal)
        self._blind_index = keys.blind_index

    def seal(self, text: str, context: str) -> bytes:
        """Key version (1 byte), nonce (12), ciphertext and tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, text.encode(), context.encode())
        return bytes((self._newest,)) + nonce + sealed

    def open(self, sealed: bytes, context: str) -> str:
        """The text again. Raises SealError."""
        cipher = self._ciphers.get(sealed[0]) if sealed else None
        if cipher is None:
            raise SealError(f"{context}: sealed with a key that is not in the keys file")
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, body, context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise SealError(f"{context}: the sealed value was changed or belongs elsewhere") from error

    def blind_index(self, kind: IndexKind, text: str) -> bytes:
        """HMAC-SHA256 of the normalised value: equal values are found without opening any."""
        return hmac.digest(self._blind_index, f"{kind}:{normalised(kind, text)}".encode(), "sha256")


def normalised(kind: IndexKind, text: str) -> str:
    """The form in which values are compared: a phone's digits (without China's +86), an ID number upper-case."""
    if kind == "id_number":
        return "".join(text.split()).upper()
    digits = "".join(char for char in text if char.isdecimal())
    national = digits.removeprefix("00").removeprefix("86")
    return national if len(national) == _CHINA_MOBILE_DIGITS and national.startswith("1") else digits


def new_token() -> str:
    """A random secret of 256 bits."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """What is kept of a token. Its 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def mask_phone(phone: str) -> str:
    """A phone number as people without `people.read` see it: 138****5678."""
    return _masked(phone, 3, 4)


def mask_id_number(number: str) -> str:
    """An ID number as it is shown to everybody: 1101**********1234."""
    return _masked(number, 4, 4)


def _masked(text: str, first: int, last: int) -> str:
    if len(text) < first + last + 3:
        return "*" * len(text)
    return text[:first] + "*" * (len(text) - first - last) + text[-last:]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
