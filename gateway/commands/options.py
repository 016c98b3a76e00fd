"""Options that several commands share, and how a command ends."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

TROUBLE = 1
"""Exit code when a device, a line or a running gateway is in trouble."""
BAD_INPUT = 2
"""Exit code for wrong usage or a wrong configuration."""

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Templates = Annotated[Path | None, typer.Option(help="Directory of meter templates, instead of the built-in one.")]


def refuse(text: str) -> NoReturn:
    """Ends the command: it was asked for something that makes no sense."""
    typer.echo(text, err=True)
    raise typer.Exit(BAD_INPUT)


def print_json(document: Any) -> None:
    """One document, as people can read it too."""
    import json

    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
