"""The providers that this installation uses, from one YAML file and the key files that it names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.yaml_files import load_yaml
from cloud.payments.channels import alipay, wechat
from cloud.payments.channels.base import Channel, ChannelName
from cloud.payments.channels.rsa_keys import BadKeyFile, private_key, public_key

CALLBACKS = "/api/v1/payment-callbacks"
_TIMEOUT_S = 15
_API_V3_KEY_BYTES = 32

Address = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=200)]
Channels = Mapping[ChannelName, Channel]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WechatFile(_Strict):
    """`wechat:` of the file. Paths are relative to it."""

    merchant_id: Annotated[str, Field(pattern=r"^[0-9]{6,32}$")]
    app_id: Annotated[str, Field(min_length=1, max_length=32)]
    certificate_serial: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{16,64}$")]
    private_key_file: Path
    api_v3_key_file: Path
    platform_keys: Annotated[
        dict[str, Path], Field(min_length=1, description="Public key or certificate by key id or serial number.")
    ]
    base_url: Address = wechat.BASE_URL


class AlipayFile(_Strict):
    """`alipay:` of the file. Paths are relative to it."""

    app_id: Annotated[str, Field(pattern=r"^[0-9]{8,32}$")]
    private_key_file: Path
    alipay_public_key_file: Path
    gateway: Address = alipay.GATEWAY


class PaymentsFile(_Strict):
    """The file that GATEMETER_PAYMENTS_FILE names."""

    wechat: WechatFile | None = None
    alipay: AlipayFile | None = None


def open_channels(path: Path | None, public_url: str | None, client: httpx.AsyncClient) -> Channels:
    """The adapters of the file; none without one. Raises InvalidFile, BadKeyFile; without a public address too."""
    if path is None:
        return {}
    if public_url is None:
        raise BadKeyFile(f"{path}: payments need GATEMETER_PUBLIC_URL, where providers call back")
    found, folder = load_yaml(path, PaymentsFile), path.parent
    channels: dict[ChannelName, Channel] = {}
    if found.wechat is not None:
        channels["wechat"] = wechat.WechatPay(_wechat(found.wechat, folder, public_url), client)
    if found.alipay is not None:
        one = found.alipay
        merchant = alipay.AlipayMerchant(
            app_id=one.app_id,
            private_key=private_key(folder / one.private_key_file),
            alipay_key=public_key(folder / one.alipay_public_key_file),
            notify_url=f"{public_url}{CALLBACKS}/alipay",
            gateway=one.gateway,
        )
        channels["alipay"] = alipay.Alipay(merchant, client)
    return channels


def new_client() -> httpx.AsyncClient:
    """A client with time limits that follows no redirect."""
    return httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)


def _wechat(one: WechatFile, folder: Path, public_url: str) -> wechat.WechatMerchant:
    key_file = folder / one.api_v3_key_file
    try:
        key = key_file.read_bytes().strip()
    except OSError as error:
        raise BadKeyFile(f"{key_file}: expected a readable file ({error.strerror})") from None
    if len(key) != _API_V3_KEY_BYTES:
        raise BadKeyFile(f"{key_file}: expected the APIv3 key, {_API_V3_KEY_BYTES} characters")
    return wechat.WechatMerchant(
        merchant_id=one.merchant_id,
        app_id=one.app_id,
        certificate_serial=one.certificate_serial,
        private_key=private_key(folder / one.private_key_file),
        api_v3_key=key,
        platform_keys={serial: public_key(folder / file) for serial, file in one.platform_keys.items()},
        notify_url=f"{public_url}{CALLBACKS}/wechat",
        base_url=one.base_url,
    )
