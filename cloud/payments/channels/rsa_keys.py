"""RSA keys from files, and SHA-256 signatures (PKCS #1 v1.5) in base64: what both providers sign with."""

import base64
import binascii
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_PEM = b"-----BEGIN"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_FEWEST_BITS = 2048


class BadKeyFile(RuntimeError):
    """A key file cannot be used; the message names the file and never what is in it."""


def private_key(path: Path) -> RSAPrivateKey:
    """The private key of a file, PEM or bare base64 as the providers' tools write it. Raises BadKeyFile."""
    content = _content(path)
    try:
        key = (
            serialization.load_pem_private_key(content, None)
            if _PEM in content
            else serialization.load_der_private_key(base64.b64decode(content), None)
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        raise BadKeyFile(f"{path}: expected an RSA private key without a password") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < _FEWEST_BITS:
        raise BadKeyFile(f"{path}: expected an RSA private key of at least {_FEWEST_BITS} bits")
    return key


def public_key(path: Path) -> RSAPublicKey:
    """The public key of a file or of the certificate in it. Raises BadKeyFile."""
    content = _content(path)
    try:
        key: object
        if _CERTIFICATE in content:
            key = x509.load_pem_x509_certificate(content).public_key()
        elif _PEM in content:
            key = serialization.load_pem_public_key(content)
        else:
            key = serialization.load_der_public_key(base64.b64decode(content))
    except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
        raise BadKeyFile(f"{path}: expected an RSA public key or a certificate") from None
    if not isinstance(key, RSAPublicKey):
        raise BadKeyFile(f"{path}: expected an RSA public key")
    return key


def sign(key: RSAPrivateKey, message: str) -> str:
    """The signature of a text, in base64."""
    return base64.b64encode(key.sign(message.encode(), PKCS1v15(), hashes.SHA256())).decode()


def verified(key: RSAPublicKey, message: bytes, signature: str) -> bool:
    """Whether the holder of the key signed exactly this."""
    try:
        key.verify(base64.b64decode(signature, validate=True), message, PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise BadKeyFile(f"{path}: expected a readable file ({error.strerror})") from None
