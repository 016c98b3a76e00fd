"""What the API of tariffs takes and gives."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.inputs import Day, Id, Input
from cloud.tariffs.files.checking import Document
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.model.values import Code
from cloud.tariffs.repository import Tariff
from cloud.tariffs.service import TariffVersion

EXAMPLE = {
    "currency": "CNY",
    "service": "electricity",
    "unit": "kWh",
    "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.4883", "0.5383", "0.7883"]}}],
    "tiers": {"bounds": [240, 400], "window": {"kind": "month"}},
}
Content = Annotated[TariffContent, Field(examples=[EXAMPLE])]


class TariffVersionIn(Input):
    """A version to publish; the tariff of this code is made when there is none."""

    project_id: Id
    code: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", examples=["beijing-electricity"])]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    service: Code
    valid_from: Annotated[Day, Field(description="Local day on which it takes over.")]
    content: Annotated[
        Document, Field(examples=[EXAMPLE], description="What a tariff file says: see /api/v1/tariff-schema.")
    ]


class TariffVersionOut(BaseModel):
    """A published version; `valid_until` is the first day on which it no longer holds."""

    id: int
    tariff_id: int
    version: int
    valid_from: date
    valid_until: date | None
    hash: str
    content: Content

    @classmethod
    def of(cls, version: TariffVersion) -> "TariffVersionOut":
        """From our records."""
        return cls(
            id=version.id,
            tariff_id=version.tariff_id,
            version=version.version,
            valid_from=version.valid_from,
            valid_until=version.valid_until,
            hash=version.hash,
            content=version.content,
        )


class TariffOut(BaseModel):
    """A tariff with its versions in order of time."""

    id: int
    project_id: int
    code: str
    name: str
    service: str
    versions: list[TariffVersionOut]

    @classmethod
    def of(cls, tariff: Tariff, versions: list[TariffVersion]) -> "TariffOut":
        """From our records."""
        return cls(
            id=tariff.id,
            project_id=tariff.project_id,
            code=tariff.code,
            name=tariff.name,
            service=tariff.service,
            versions=[TariffVersionOut.of(version) for version in versions],
        )
