"""A photo of a register as an answer over HTTP, for the API and the pages."""

from fastapi import Response

from cloud.metering.manual.photos import Photo


def picture(found: Photo) -> Response:
    """A picture and nothing else: whatever is in it, no browser runs it or takes it for a page."""
    headers = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Disposition": f'inline; filename="reading-{found.id}.{found.content_type.partition("/")[2]}"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(found.content, media_type=found.content_type, headers=headers)
