"""Providers of payments for tests: peers with keys of their own, the file that names them, and a clock to move.

The fixtures reach a test file that imports them and names them in `__all__`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloud.payments.channels import configuration, rsa_keys
from cloud.payments.channels.configuration import Channels, open_channels
from cloud.settings import CloudSettings, load_settings
from simulators.payments.alipay import AlipayPeer
from simulators.payments.wechat import WechatPeer
from tests.integration.app import nobody_answers

PUBLIC_URL = "http://gatemeter.test"
API_V3_KEY = b"0123456789abcdef0123456789abcdef"
SERIAL = "5F3E1A2B4C5D6E7F8091A2B3C4D5E6F708192A3B"


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A key for each name, made once."""
    assert name
    return rsa.generate_private_key(65537, 2048)


def _read_once(path: Path) -> rsa.RSAPrivateKey:
    """The key of a file. OpenSSL proves the primes of each that it reads, for a tenth of a second: ours it made."""
    ours = rsa_key("ours")
    return ours if path.is_file() and path.read_bytes() == private_pem(ours) else rsa_keys.private_key(path)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    """As the providers' tools write it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    """The public half."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Providers:
    """Both peers and how to reach them."""

    folder: Path
    wechat: WechatPeer
    alipay: AlipayPeer
    ahead: timedelta = field(default_factory=timedelta)

    @property
    def file(self) -> Path:
        """What GATEMETER_PAYMENTS_FILE would name."""
        return self.folder / "payments.yaml"

    def now(self) -> datetime:
        """Our clock: the real one, moved ahead."""
        return datetime.now(UTC) + self.ahead

    def client(self) -> httpx.AsyncClient:
        """Speaks to the peers without sockets."""
        mounts = {
            "http://wechat.test": httpx.ASGITransport(self.wechat.app()),
            "http://alipay.test": httpx.ASGITransport(self.alipay.app()),
        }
        return httpx.AsyncClient(mounts=mounts, transport=httpx.MockTransport(nobody_answers))

    @asynccontextmanager
    async def channels(self) -> AsyncIterator[Channels]:
        """The adapters."""
        async with self.client() as client:
            yield open_channels(self.file, PUBLIC_URL, client)


def make_providers(folder: Path) -> Providers:
    """Peers, and the files that an installation would have."""
    folder.mkdir(exist_ok=True)
    ours, platform = rsa_key("ours"), rsa_key("platform")
    for name, content in (
        ("ours.pem", private_pem(ours)),
        ("wechat.pem", public_pem(platform)),
        ("alipay.pem", public_pem(platform)),
        ("api_v3_key", API_V3_KEY + b"\n"),
    ):
        (folder / name).write_bytes(content)
    (folder / "payments.yaml").write_text(
        f"""
wechat:
  merchant_id: "1900000109"
  app_id: wxd678efh567hg6787
  certificate_serial: {SERIAL}
  private_key_file: ours.pem
  api_v3_key_file: api_v3_key
  platform_keys: {{PUB_KEY_ID_0119000001: wechat.pem}}
  base_url: http://wechat.test
alipay:
  app_id: "2021000116662388"
  private_key_file: ours.pem
  alipay_public_key_file: alipay.pem
  gateway: http://alipay.test/gateway.do
"""
    )
    return Providers(
        folder,
        WechatPeer(
            merchant_id="1900000109",
            app_id="wxd678efh567hg6787",
            certificate_serial=SERIAL,
            merchant_key=ours.public_key(),
            platform_key=platform,
            key_id="PUB_KEY_ID_0119000001",
            api_v3_key=API_V3_KEY,
        ),
        AlipayPeer(app_id="2021000116662388", app_key=ours.public_key(), alipay_key=platform),
    )


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Providers:
    """Both peers."""
    monkeypatch.setattr(configuration, "private_key", _read_once)
    return make_providers(tmp_path / "payments")


@pytest.fixture
def settings(owner_dsn: str, tmp_path: Path, providers: Providers) -> CloudSettings:
    """Settings of an installation where one pays online."""
    return load_settings(
        database_dsn=owner_dsn, database_pool=4, keys_file=tmp_path / "keys.json", secure_cookies=False, web_port=0,
        payments_file=providers.file, public_url=PUBLIC_URL,
    )  # fmt: skip
