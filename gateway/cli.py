"""`gatemeter gateway …` and `gatemeter devices …`."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.queue import app as queue_app

app = typer.Typer(help="The edge process.", no_args_is_help=True)
app.add_typer(queue_app, name="queue")
devices_app = typer.Typer(help="Device templates.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
_Templates = Annotated[Path | None, typer.Option(help="Directory of meter templates, instead of the built-in one.")]


@app.command("run")
def run(
    site: Annotated[Path, typer.Option(help="Site file.")],
    templates: _Templates = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Polls meters, runs barriers and delivers to the cloud until SIGTERM or SIGINT."""
    import asyncio

    from gateway.console import configure_logging, exit_code, serve
    from gateway.errors import GatewayError
    from gateway.templates.library import Library

    configure_logging(log_level)
    try:
        asyncio.run(serve(site, Library(templates)))
    except (GatewayError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exit_code(error)) from error


@app.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(help="Site file.")], templates: _Templates = None, as_json: _Json = False
) -> None:
    """Checks a site file and the templates it uses; exit code 2 when the gateway would refuse to start."""
    import json

    from gateway.errors import ConfigError
    from gateway.settings import load_site
    from gateway.templates.library import Library

    try:
        site = load_site(file, Library(templates))
        devices = [device for line in site.lines for device, _ in line.all_devices()]
    except ConfigError as error:
        if as_json:
            found = [
                {"file": str(one.file), "line": one.line, "key": one.key, "expected": one.expected}
                for one in error.problems
            ]
            typer.echo(json.dumps({"ok": False, "problems": found}, ensure_ascii=False, indent=2))
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    summary = {"ok": True, "gateway": site.gateway, "lines": len(site.lines), "devices": len(devices)}
    text = f"{file}: fine, gateway {site.gateway}, {len(site.lines)} lines, {len(devices)} devices"
    typer.echo(json.dumps(summary) if as_json else text)


@devices_app.command("list")
def list_devices(
    text: Annotated[list[str] | None, typer.Argument(help="Words that must occur: a model, a channel, a note.")] = None,
    medium: Annotated[str, typer.Option(help="Only electricity, water or heat.")] = "",
    protocol: Annotated[str, typer.Option(help="Only this protocol, such as modbus.")] = "",
    vendor: Annotated[str, typer.Option(help="Only vendors whose name contains this.")] = "",
    templates: _Templates = None,
    as_json: _Json = False,
) -> None:
    """The meter models that are supported."""
    import json

    from gateway import catalogue
    from gateway.errors import ConfigError
    from gateway.templates.library import Library

    wanted = catalogue.Wanted(medium, protocol, vendor, tuple(text or ()))
    try:
        chosen = list(catalogue.chosen(Library(templates), wanted))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(catalogue.rows(chosen), ensure_ascii=False, indent=2))
    else:
        catalogue.print_list(chosen)


@devices_app.command("show")
def show_device(
    template: Annotated[str, typer.Argument(help="Id as `devices list` prints it.")],
    templates: _Templates = None,
    as_json: _Json = False,
) -> None:
    """One meter model: its sources, registers, and the requests that a poll makes."""
    from gateway import catalogue
    from gateway.errors import ConfigError
    from gateway.templates.library import Library

    try:
        found = Library(templates).meter(template)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(catalogue.as_json(found))
    else:
        catalogue.print_template(found)


@devices_app.command("docs")
def docs(
    directory: Annotated[Path | None, typer.Option(help="Where to write; default: docs/devices.")] = None,
    templates: _Templates = None,
    check: Annotated[bool, typer.Option(help="Write nothing; exit code 1 when a page is out of date.")] = False,
    as_json: _Json = False,
) -> None:
    """Writes the pages about the supported devices from their templates."""
    import json

    from gateway import catalogue
    from gateway.templates.library import Library, firmware_config

    stale = catalogue.stale_pages(Library(templates), directory or firmware_config().parent / "docs" / "devices")
    if not check:
        catalogue.write_pages(stale)
    word, names = "out of date" if check else "written", [str(path) for path in stale]
    typer.echo(json.dumps({word.replace(" ", "_"): names}) if as_json else f"{word}: {', '.join(names) or 'nothing'}")
    if check and stale:
        raise typer.Exit(1)


@devices_app.command("schema")
def schema(
    directory: Annotated[Path | None, typer.Option(help="Where to write; default: firmware-config/schema.")] = None,
    check: Annotated[bool, typer.Option(help="Write nothing; exit code 1 when a file is out of date.")] = False,
    as_json: _Json = False,
) -> None:
    """Writes the JSON Schemas that let an editor complete templates and site files."""
    import json

    from gateway.settings import json_schemas
    from gateway.templates.library import firmware_config

    target = directory or firmware_config() / "schema"
    stale = []
    for name, text in json_schemas().items():
        path = target / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path))
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    word = "out of date" if check else "written"
    typer.echo(json.dumps({word.replace(" ", "_"): stale}) if as_json else f"{word}: {', '.join(stale) or 'nothing'}")
    if check and stale:
        raise typer.Exit(1)
