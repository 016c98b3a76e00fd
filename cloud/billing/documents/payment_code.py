"""The QR code that leads to the page where a bill is paid."""

import io

import segno

_QUIET = 2
"""Modules of white around it: templates leave more."""


def pay_address(public_url: str | None, bill_id: int) -> str | None:
    """Where a resident sees and pays the bill; None where the service has no address of its own."""
    return None if public_url is None else f"{public_url}/my/bills/{bill_id}"


def as_svg(address: str) -> str:
    """The code as an SVG picture."""
    written = io.BytesIO()
    segno.make_qr(address, error="m").save(written, kind="svg", border=_QUIET, xmldecl=False)
    return written.getvalue().decode()


def as_png(address: str) -> bytes:
    """The code as a PNG picture."""
    written = io.BytesIO()
    segno.make_qr(address, error="m").save(written, kind="png", scale=5, border=_QUIET)
    return written.getvalue()


def as_png_uri(address: str) -> str:
    """The code as a PNG picture in a `data:` address, for pages."""
    return str(segno.make_qr(address, error="m").png_data_uri(scale=5, border=_QUIET))
