"""The site file of the demo gateway: the one that comes with the software, on the ports that are free now."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from gateway.templates.library import firmware_config


def example_site() -> dict[str, Any]:
    """The demo site as it comes with the software."""
    content: dict[str, Any] = yaml.safe_load((firmware_config() / "sites" / "demo.yaml").read_text("utf-8"))
    return content


def write_site(
    path: Path,
    *,
    floors: int,
    state_directory: Path,
    broker_port: int,
    health_port: int,
    line_ports: Iterable[int],
    cloud_keys: dict[str, str],
) -> None:
    """Writes the site file. `line_ports` gives a port for each Modbus line, `cloud_keys` who may command.

    On `health_port` the gateway tells `gatemeter gateway monitor` how it is.
    """
    site = example_site()
    site["state_directory"] = str(state_directory)
    site["broker"]["port"] = broker_port
    site["health_port"] = health_port
    site["cloud_keys"] = cloud_keys
    for line, port in zip(site["lines"], line_ports, strict=False):
        line["port"] = port
        for series in line["device_series"]:
            series["ranges"]["floor"] = f"01..{floors:02}"
    for line in site["barriers"]:
        line["broker"]["port"] = broker_port
    path.write_text(yaml.safe_dump(site, allow_unicode=True, sort_keys=False), encoding="utf-8")
