"""A picture that somebody sent us, as an answer over HTTP."""

from fastapi import Response


def picture(content: bytes, media_type: str, name: str) -> Response:
    """A picture and nothing else: whatever is in it, no browser runs it or takes it for a page."""
    headers = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f'inline; filename="{name}.{media_type.partition("/")[2]}"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=media_type, headers=headers)
