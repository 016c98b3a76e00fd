"""`gatemeter devices`: the meter models that are supported."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.options import AsJson, Templates, print_json, refuse

app = typer.Typer(help="Device templates.", no_args_is_help=True)


@app.command("list")
def list_devices(
    text: Annotated[list[str] | None, typer.Argument(help="Words that must occur: a model, a channel, a note.")] = None,
    medium: Annotated[str, typer.Option(help="Only electricity, water or heat.")] = "",
    protocol: Annotated[str, typer.Option(help="Only this protocol, such as modbus.")] = "",
    vendor: Annotated[str, typer.Option(help="Only vendors whose name contains this.")] = "",
    templates: Templates = None,
    as_json: AsJson = False,
) -> None:
    """The meter models that are supported.

    Example: gatemeter devices list --medium water --protocol modbus
    """
    from gateway import catalogue
    from gateway.errors import ConfigError
    from gateway.templates.library import Library

    wanted = catalogue.Wanted(medium, protocol, vendor, tuple(text or ()))
    try:
        chosen = list(catalogue.chosen(Library(templates), wanted))
    except ConfigError as error:
        refuse(str(error))
    if as_json:
        print_json(catalogue.rows(chosen))
    else:
        catalogue.print_list(chosen)


@app.command("show")
def show_device(
    template: Annotated[str, typer.Argument(help="Id as `devices list` prints it.")],
    templates: Templates = None,
    as_json: AsJson = False,
) -> None:
    """One meter model: its sources, registers, and the requests that a poll makes.

    Example: gatemeter devices show eastron-sdm630
    """
    from gateway import catalogue
    from gateway.errors import ConfigError
    from gateway.templates.library import Library

    try:
        found = Library(templates).meter(template)
    except ConfigError as error:
        refuse(str(error))
    if as_json:
        typer.echo(catalogue.as_json(found))
    else:
        catalogue.print_template(found)


@app.command("docs")
def docs(
    directory: Annotated[Path | None, typer.Option(help="Where to write; default: docs/devices.")] = None,
    templates: Templates = None,
    check: Annotated[bool, typer.Option(help="Write nothing; exit code 1 when a page is out of date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Writes the pages about the supported devices from their templates.

    Example: gatemeter devices docs --check
    """
    from gateway import catalogue
    from gateway.templates.library import Library, firmware_config

    stale = catalogue.stale_pages(Library(templates), directory or firmware_config().parent / "docs" / "devices")
    if not check:
        catalogue.write_pages(stale)
    word, names = "out of date" if check else "written", [str(path) for path in stale]
    if as_json:
        print_json({word.replace(" ", "_"): names})
    else:
        typer.echo(f"{word}: {', '.join(names) or 'nothing'}")
    if check and stale:
        raise typer.Exit(1)


@app.command("schema")
def schema(
    directory: Annotated[Path | None, typer.Option(help="Where to write; default: firmware-config/schema.")] = None,
    check: Annotated[bool, typer.Option(help="Write nothing; exit code 1 when a file is out of date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Writes the JSON Schemas that let an editor complete templates and site files.

    Example: gatemeter devices schema --check
    """
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
    if as_json:
        print_json({word.replace(" ", "_"): stale})
    else:
        typer.echo(f"{word}: {', '.join(stale) or 'nothing'}")
    if check and stale:
        raise typer.Exit(1)
