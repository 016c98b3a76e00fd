"""Pages of tariffs."""

from cloud.tariffs.draft_pages import router

__all__ = ["router"]
