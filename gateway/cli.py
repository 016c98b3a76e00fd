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
def list_devices(templates: _Templates = None, as_json: _Json = False) -> None:
    """The meter models that are supported."""
    import json

    from gateway.console import template_rows
    from gateway.templates.library import Library

    rows = template_rows(Library(templates))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['id']:32} {row['medium']:12} {row['proven']:10} {row['vendor']} {row['model']}")


@devices_app.command("show")
def show_device(
    template: Annotated[str, typer.Argument(help="Id as `devices list` prints it.")],
    templates: _Templates = None,
    as_json: _Json = False,
) -> None:
    """One meter model: its sources, registers, and the requests that a poll makes."""
    from gateway.console import template_text
    from gateway.errors import ConfigError
    from gateway.templates.library import Library

    try:
        typer.echo(template_text(template, Library(templates), as_json))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


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
