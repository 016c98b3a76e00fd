"""The JSON Schema of tariff files, so that editors complete and check them."""

import json

from cloud.tariffs.model.tariff import TariffContent


def tariff_schema() -> str:
    """The schema as it is kept in firmware-config/schema/."""
    schema = TariffContent.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Gatemeter tariff"
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
