"""Messages as plain JSON with names, the form in which the golden vectors keep them."""

from typing import Any

import msgspec


def named(value: object) -> Any:
    """Structs become objects by field name, tuples lists, raw bodies what they hold."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, msgspec.Struct):
        return {name: named(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [named(item) for item in value]
    if isinstance(value, dict):
        return {str(key): named(item) for key, item in value.items()}
    return value
