"""`gatemeter gateway queue …`: looks into the outbox, also while the gateway runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from gateway.outbox.inspection import Inspection, Summary

_EPILOG: Final = (
    "Exit codes: 0 done, 1 nothing found or not everything could be read, 2 wrong usage or no outbox there."
)

app = typer.Typer(
    help="What waits for the cloud, what it refused, what was lost. Works while the gateway runs.",
    epilog="Example: gatemeter gateway queue summary --outbox state/outbox.sqlite",
    no_args_is_help=True,
)


class KindName(StrEnum):
    """What a batch holds."""

    READINGS = "readings"
    PASSAGES = "passages"
    RESULTS = "results"
    HEALTH = "health"
    GAPS = "gaps"


class ShedName(StrEnum):
    """The order in which a full outbox gives batches up."""

    HEALTH = "health"
    DIAGNOSTICS = "diagnostics"
    RESULTS = "results"
    BILLING = "billing"
    PASSAGES = "passages"
    GAPS = "gaps"


class StateName(StrEnum):
    """Whether a batch waits, or the cloud has refused it."""

    QUEUED = "queued"
    PARKED = "parked"


_Outbox = Annotated[
    Path | None,
    typer.Option("--outbox", envvar="GATEMETER_OUTBOX", help="Outbox file, <state_directory>/outbox.sqlite."),
]
_Site = Annotated[Path | None, typer.Option("--site", help="Site file, instead of the outbox file.")]
_Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@app.command("summary", epilog=f"Example: gatemeter gateway queue summary --site site.yaml. {_EPILOG}")
def summary(outbox: _Outbox = None, site: _Site = None, as_json: _Json = False) -> None:
    """Rows, bytes and age by kind and class, refusals with their reasons, losses."""
    from dataclasses import asdict

    with _opened(outbox, site) as found:
        result = found.summary()
    _show(asdict(result), _summary_lines(result), as_json)


@app.command("list", epilog=f"Example: gatemeter gateway queue list --state parked --limit 20. {_EPILOG}")
def list_rows(
    outbox: _Outbox = None,
    site: _Site = None,
    kind: Annotated[KindName | None, typer.Option(help="Only batches of this kind.")] = None,
    shed: Annotated[ShedName | None, typer.Option(help="Only batches of this class.")] = None,
    state: Annotated[StateName | None, typer.Option(help="Only batches in this state.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Begin behind this number: the next page.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: _Json = False,
) -> None:
    """Batches in order of their numbers, page by page."""
    from dataclasses import asdict

    from gateway.contract.topics import Up
    from gateway.outbox import Shed
    from gateway.outbox.inspection import Filter

    wanted = Filter(
        None if kind is None else Up(kind.value), None if shed is None else Shed[shed.name],
        None if state is None else state.value, after, limit,
    )  # fmt: skip
    with _opened(outbox, site) as found:
        rows = found.entries(wanted)
    lines = [
        f"{one.seq:>8}  {one.kind:9} {one.shed:12} {one.state:7} {_time(one.created_at)} {one.bytes:>8} B  {one.reason}"
        for one in rows
    ]
    if len(rows) == limit:
        lines.append(f"more: --after {rows[-1].seq}")
    next_after = rows[-1].seq if len(rows) == limit else None
    _show({"rows": [asdict(one) for one in rows], "next_after": next_after}, lines, as_json)


@app.command("show", epilog=f"Example: gatemeter gateway queue show 4711. {_EPILOG}")
def show(
    seq: Annotated[int, typer.Argument(min=1, help="Number of the batch, as `list` shows it.")],
    outbox: _Outbox = None,
    site: _Site = None,
    as_json: _Json = False,
) -> None:
    """One batch with everything in it, by field names."""
    import json
    from dataclasses import asdict

    with _opened(outbox, site) as found:
        one = found.entry(seq)
    if one is None:
        typer.echo(f"there is no batch {seq}", err=True)
        raise typer.Exit(1)
    entry, items = one
    lines = [f"{entry.seq} {entry.kind} {entry.shed} {entry.state} {_time(entry.created_at)} {entry.reason}".rstrip()]
    if isinstance(items, str):
        lines.append(f"  cannot be decoded: {items}")
    else:
        lines += [f"  {json.dumps(item, ensure_ascii=False)}" for item in items]
    _show({**asdict(entry), "items": items}, lines, as_json)


@app.command("retry", epilog=f"Example: gatemeter gateway queue retry; gatemeter gateway queue retry 17 18. {_EPILOG}")
def retry(
    seqs: Annotated[
        list[int] | None, typer.Argument(help="Numbers of refused batches; all of them when absent.")
    ] = None,
    outbox: _Outbox = None,
    site: _Site = None,
    as_json: _Json = False,
) -> None:
    """Queues refused batches again, after their cause was mended in the cloud."""
    with _opened(outbox, site) as found:
        queued = found.retry(seqs or None)
    _show({"queued": queued}, [f"{queued} batches queued again"], as_json)
    if seqs and queued < len(seqs):
        raise typer.Exit(1)


@app.command("export", epilog=f"Example: gatemeter gateway queue export queue.jsonl. {_EPILOG}")
def export(
    file: Annotated[Path, typer.Argument(help="File to write, one JSON object a line. It must not exist.")],
    outbox: _Outbox = None,
    site: _Site = None,
    as_json: _Json = False,
) -> None:
    """Writes every batch, decoded, into a file; the outbox stays as it is."""
    import json
    from dataclasses import asdict

    batches = unreadable = 0
    with _opened(outbox, site) as found, _new_file(file) as target:
        for entry, items in found.everything():
            target.write(json.dumps({**asdict(entry), "items": items}, ensure_ascii=False) + "\n")
            batches += 1
            unreadable += isinstance(items, str)
    text = f"{batches} batches written to {file}, {unreadable} of them could not be decoded"
    _show({"batches": batches, "unreadable": unreadable, "file": str(file)}, [text], as_json)
    if unreadable:
        raise typer.Exit(1)


@app.command("salvage", epilog=f"Example: gatemeter gateway queue salvage state/outbox.sqlite.damaged-… . {_EPILOG}")
def salvage(
    file: Annotated[Path, typer.Argument(help="A damaged outbox file that was set aside. It is not changed.")],
    outbox: _Outbox = None,
    site: _Site = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what can be read.")] = False,
    as_json: _Json = False,
) -> None:
    """Queues again what is still readable of a damaged outbox. May be repeated: the cloud stores nothing twice."""
    from gateway.errors import GatewayError
    from gateway.outbox.salvage import Salvage

    with _opened(outbox, site) as found:
        try:
            damaged = Salvage(file)
        except (GatewayError, OSError) as error:
            raise _refused(error) from error
        try:
            queued = sum(1 for _ in damaged.batches()) if dry_run else found.add(damaged.batches())
        finally:
            damaged.close()
    word = "can be read" if dry_run else "queued again"
    text = f"{queued} batches {word}, {damaged.skipped} damaged places skipped"
    _show({"queued": 0 if dry_run else queued, "readable": queued, "skipped": damaged.skipped}, [text], as_json)
    if damaged.skipped or not queued:
        raise typer.Exit(1)


@contextmanager
def _opened(outbox: Path | None, site: Path | None) -> Iterator["Inspection"]:
    from gateway.errors import GatewayError
    from gateway.outbox.inspection import Inspection

    try:
        found = Inspection(_path(outbox, site))
    except GatewayError as error:
        raise _refused(error) from error
    try:
        yield found
    except GatewayError as error:
        raise _refused(error) from error
    finally:
        found.close()


def _path(outbox: Path | None, site: Path | None) -> Path:
    if site is not None:
        from gateway.app import OUTBOX_FILE
        from gateway.settings import load_site

        return load_site(site).state_directory / OUTBOX_FILE
    if outbox is None:
        typer.echo("expected --outbox or --site", err=True)
        raise typer.Exit(2)
    return outbox


@contextmanager
def _new_file(file: Path) -> Iterator[Any]:
    try:
        target = file.open("x", encoding="utf-8")
    except OSError as error:
        raise _refused(error) from error
    with target:
        yield target


def _refused(error: Exception) -> typer.Exit:
    typer.echo(str(error), err=True)
    return typer.Exit(2)


def _show(result: dict[str, Any], lines: list[str], as_json: bool) -> None:
    import json

    typer.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else "\n".join(lines))


def _summary_lines(found: "Summary") -> list[str]:
    lines = [
        f"{found.rows} batches wait, {found.bytes} bytes" + (f", since {_time(found.oldest)}" if found.oldest else "")
    ]
    lines += [
        f"  {one.kind:9} {one.shed:12} {one.state:7} {one.rows:>8} batches {one.bytes:>12} B  since {_time(one.oldest)}"
        for one in found.classes
    ]
    lines += [f"  refused: {count} × {reason}" for reason, count in found.parked.items()]
    lines += [
        f"  lost: {name}, {loss.batches} batches, {loss.items} items, {_time(loss.oldest)} to {_time(loss.newest)}"
        for name, loss in found.losses.items()
    ]
    if found.open_gaps:
        lines.append(f"  {found.open_gaps} gaps wait for room to be reported")
    lines += [f"  damaged file set aside: {name}" for name in found.set_aside]
    return lines


def _time(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
