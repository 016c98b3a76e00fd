"""Pages of tariffs."""

from cloud.tariffs.drafts.pages import router

__all__ = ["router"]
