"""`gatemeter simulate …`: simulated field devices. Each command loads its simulator only when it is asked for."""

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

_MODULES: Final = {
    "barriers": "simulators.barrier.cli",
    "mail": "simulators.mail.cli",
    "meters": "simulators.modbus.cli",
}


class _Lazy(TyperGroup):
    """Commands of other modules under their own names."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return sorted(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _MODULES:
            return None
        found = get_command(import_module(_MODULES[cmd_name]).app)
        return found.get_command(ctx, cmd_name) if isinstance(found, TyperGroup) else found


app = typer.Typer(cls=_Lazy, help="Simulated field devices.", no_args_is_help=True)


@app.callback()
def simulate() -> None:
    """Simulated field devices that speak the real protocols."""
