"""The OpenAPI document: what FastAPI knows, completed by permissions, the session cookie and examples."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from cloud.identity.guards import SESSION_COOKIE, stated_access
from cloud.kit.routing import routes_of

Document = dict[str, Any]

_BY_FORMAT = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T08:00:00+08:00",
    "uuid": "0190d6a4-5b1e-7c3a-9f00-3f1f0f6a1c11",
}
_BY_TYPE: dict[str, Any] = {"integer": 1, "number": "1.00", "boolean": True, "string": "text", "null": None}
_COOKIE = "SessionCookie"


def describe(app: FastAPI) -> Document:
    """The document of `app`, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=routes_of(app),
            tags=app.openapi_tags,
        )
        document["components"]["securitySchemes"][_COOKIE] = {
            "type": "apiKey",
            "in": "cookie",
            "name": SESSION_COOKIE,
            "description": "The session of the pages. Changes then also need the header X-CSRF-Token.",
        }
        for path, method, permission in _guarded(app):
            _state_permission(document["paths"][path][method], permission)
        for operation in (one for methods in document["paths"].values() for one in methods.values()):
            _add_examples(document, operation)
        app.openapi_schema = document
    return app.openapi_schema


def _guarded(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    """Path, method and permission of each documented operation that needs one."""
    for route in iter_route_contexts(routes_of(app)):
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema or route.path is None:
            continue
        for call in _calls(route.dependant):
            permission = stated_access(call)
            if permission not in (None, "public"):
                yield from ((route.path, method.lower(), permission) for method in route.methods or ())


def _calls(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for inner in dependant.dependencies:
        yield from _calls(inner)


def _state_permission(operation: Document, permission: str) -> None:
    operation["x-permission"] = permission
    operation["description"] = f"{operation.get('description', '')}\n\nNeeds the permission `{permission}`.".lstrip()
    operation["security"] = [*operation.get("security", []), {_COOKIE: []}]


def _add_examples(document: Document, operation: Document) -> None:
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    bodies += [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for body in bodies:
        content = body.get("content", {}).get("application/json")
        if content is not None:
            content["example"] = example_of(document, content["schema"])


def example_of(document: Document, schema: Document) -> Any:
    """A value of the schema, from the examples of its fields where they have some."""
    for key in ("examples", "enum"):
        if key in schema:
            return schema[key][0]
    if "$ref" in schema:
        return example_of(document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "const" in schema or "default" in schema:
        return schema.get("const", schema.get("default"))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return example_of(document, schema[key][0])
    if schema.get("type") == "array":
        return [example_of(document, schema["items"])] if "items" in schema else []
    if schema.get("type") == "object":
        return {name: example_of(document, inner) for name, inner in schema.get("properties", {}).items()}
    return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(schema.get("type", ""), {}))
