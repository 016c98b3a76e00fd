"""A photo of a register as an answer over HTTP, for the API and the pages."""

from fastapi import Response

from cloud.kit import pictures
from cloud.metering.manual.photos import Photo


def picture(found: Photo) -> Response:
    """The photo, named by its number."""
    return pictures.picture(found.content, found.content_type, f"reading-{found.id}")
