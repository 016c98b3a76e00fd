"""`gatemeter gateway …` and `gatemeter devices …`."""

import typer

from gateway.commands.config import check_config
from gateway.commands.devices import app as devices_app
from gateway.commands.monitor import monitor
from gateway.commands.probe import probe
from gateway.commands.queue import app as queue_app
from gateway.commands.run import run
from gateway.commands.scan import scan

__all__ = ["app", "devices_app"]

app = typer.Typer(help="The edge process.", no_args_is_help=True)
app.command("run")(run)
app.command("check-config")(check_config)
app.command("probe")(probe)
app.command("scan")(scan)
app.command("monitor")(monitor)
app.add_typer(queue_app, name="queue")
