"""`gatemeter keys`: the file with the keys that seal personal data and sign commands."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cloud.commands.console import fail
from cloud.kit.security import Keys, KeysError

app = typer.Typer(help="Keys that seal personal data and sign commands.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The keys file.", show_default=False)]


@app.command()
def create(file: File) -> None:
    """Makes new keys in a new file of mode 0600. Keep a copy of it apart: without it sealed data stay sealed.

    Example: gatemeter keys create /etc/gatemeter/keys.json
    """
    keys = Keys.generate()
    try:
        keys.save(file)
    except FileExistsError:
        fail(f"{file} exists already: its keys may have sealed something, so it is not replaced")
    except OSError as error:
        fail(f"{file}: cannot be written ({error.strerror})")
    typer.echo(
        f"{file}: new keys; gateways need under cloud_keys:\n  {keys.command_key_id}: {keys.command_public_key()}"
    )


@app.command("show-public")
def show_public(file: File, as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Prints what a gateway's site file needs under `cloud_keys`.

    Example: gatemeter keys show-public /etc/gatemeter/keys.json
    """
    try:
        keys = Keys.load(file)
    except KeysError as error:
        fail(str(error))
    shown = {keys.command_key_id: keys.command_public_key()}
    typer.echo(json.dumps(shown) if as_json else "\n".join(f"{key_id}: {key}" for key_id, key in shown.items()))
