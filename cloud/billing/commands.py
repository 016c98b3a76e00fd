"""`gatemeter billing`: what accountants fetch by script."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloud.commands.console import OwnerDsn, fail, finish

if TYPE_CHECKING:
    from cloud.billing.vouchers.exports import VoucherExport

app = typer.Typer(help="Billing: vouchers for accounting software.", no_args_is_help=True)


@app.callback()
def billing() -> None:
    """Billing: vouchers for accounting software."""


@app.command()
def vouchers(
    dsn: OwnerDsn,
    project: Annotated[str, typer.Option(help="Code of the project.", show_default=False)],
    month: Annotated[str, typer.Option(help="Such as 2026-01.", show_default=False)],
    out: Annotated[Path, typer.Option(help="What to write: .xlsx, .csv, .txt (u8) or .beancount.", show_default=False)],
    layout: Annotated[
        Literal["plain", "u8", "k3", "galaxy", "beancount"],
        typer.Option("--format", help="plain, 用友 U8, 金蝶 K/3, 金蝶云星空, or Beancount."),
    ] = "plain",
    grouping: Annotated[
        Literal["day", "journal"], typer.Option("--group", help="A voucher for each day and kind, or each journal.")
    ] = "day",
) -> None:
    """Writes the vouchers of a month to a file and records that it was made; of a closed month always the same file.

    Example: gatemeter billing vouchers --project sunshine --month 2026-01 --format k3 --out 2026-01.xlsx

    Example: gatemeter billing vouchers --project sunshine --month 2026-01 --format u8 --out 2026-01.txt

    Example: gatemeter billing vouchers --project sunshine --month 2026-01 --format beancount --out 2026-01.beancount
    """
    made = finish(_export(dsn, project, month, out, layout, grouping))
    typer.echo(f"{made.vouchers} vouchers, {made.lines} lines, {made.total:f}, sha256 {made.sha256}")


async def _export(
    dsn: str,
    project_code: str,
    month: str,
    out: Path,
    layout: Literal["plain", "u8", "k3", "galaxy", "beancount"],
    grouping: Literal["day", "journal"],
) -> "VoucherExport":
    from cloud.billing.vouchers import exports as voucher_exports
    from cloud.billing.vouchers.files import FILE_TYPES
    from cloud.kit.db import SYSTEM, Database
    from cloud.metering.consumption.months_shown import month_shown
    from cloud.metering.exports.commands import project_named

    wanted = next((one for one in FILE_TYPES[layout] if one == out.suffix.removeprefix(".")), None)
    if wanted is None:
        fail(f"{out}: {layout} is written as .{' or .'.join(FILE_TYPES[layout])}")
    async with (
        Database(dsn, "gatemeter_worker", max_size=2, timeout_s=5.0) as db,
        db.transaction(SYSTEM.named("command-line")) as conn,
    ):
        project = await project_named(conn, project_code)
        first = month_shown(month, project.zone).start
        made = await voucher_exports.export_vouchers(conn, project.id, first, layout, wanted, grouping)
        content = await voucher_exports.content(conn, made.id)
        # Inside the transaction: a file that could not be written is not recorded either.
        unfinished = out.with_name(f"{out.name}.part")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(out)
        except OSError as error:
            fail(f"{out}: expected a place to write to ({error.strerror})")
        finally:
            unfinished.unlink(missing_ok=True)
    return made
