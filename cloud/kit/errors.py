"""The error tree of the cloud: one class per meaning; the web turns each into a problem document (RFC 9457)."""

from typing import ClassVar


class GatemeterError(Exception):
    """Base of all errors that a caller can do something about.

    `code` is stable and machine-readable; `detail` is an English sentence for logs and problem documents;
    `field` names the offending input (dotted path) where there is one; `params` are the values of the sentence.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"

    def __init__(self, code: str, detail: str, *, field: str | None = None, **params: object) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.params = params

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every offending input and what is wrong with it."""
        return ((self.field, self.detail),) if self.field else ()


class InvalidInput(GatemeterError):
    """The request cannot be understood or breaks a rule; `field` and `detail` say which and what was expected."""

    status = 422
    title = "Invalid input"


class NotFound(GatemeterError):
    """There is no such thing, or the asker may not know of it."""

    status = 404
    title = "Not found"


class Conflict(GatemeterError):
    """The request contradicts the present state: already exists, already done, somebody else was faster."""

    status = 409
    title = "Conflict"


class Forbidden(GatemeterError):
    """The asker is known but lacks the permission."""

    status = 403
    title = "Forbidden"


class Unauthenticated(GatemeterError):
    """The asker is not known."""

    status = 401
    title = "Not signed in"


class TooManyRequests(GatemeterError):
    """Asked too often; `params['retry_after_s']` says how long to wait."""

    status = 429
    title = "Too many requests"


class Unavailable(GatemeterError):
    """Something this depends on does not answer now."""

    status = 503
    title = "Temporarily unavailable"
