"""What the commands do once they are chosen: imported late, so that `--help` is quick."""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from gateway.app import Gateway
from gateway.drivers.modbus.meter import compile_template
from gateway.errors import ConfigError
from gateway.settings import load_site
from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.senml import SenmlTemplate
from gateway.uplink.settings import CredentialsMissing


def configure_logging(level: str) -> None:
    """Log lines as JSON on stderr, from `level` on; an unknown level is info."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(level=max(number, logging.WARNING))
    # Every retry of a dead device would be an error line of its own there; our counters say it once.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def exit_code(error: Exception) -> int:
    """2 for what the operator must mend before a start, 1 for a failure while running."""
    return 2 if isinstance(error, ConfigError | CredentialsMissing) else 1


async def serve(site_file: Path, library: Library) -> None:
    """Runs the gateway of a site file until SIGTERM or SIGINT. Raises ConfigError and CredentialsMissing at once."""
    site = load_site(site_file, library)
    for broker in (site.broker, *(barrier.broker for barrier in site.barriers)):
        broker.password()
        broker.tls_context()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Gateway(site, library).run(stop)


def template_rows(library: Library) -> list[dict[str, Any]]:
    """One row per template for `devices list`. Raises ConfigError."""
    rows = []
    for template_id in library.ids:
        template = library.meter(template_id)
        rows.append(
            {
                "id": template_id,
                "vendor": template.vendor,
                "model": template.model,
                "medium": template.medium.value,
                "proven": template.proven,
                "channels": [register.channel for register in template.registers],
            }
        )
    return rows


def template_text(template_id: str, library: Library, as_json: bool) -> str:
    """One template for `devices show`: the file's content and the requests of a full poll. Raises ConfigError."""
    template = library.meter(template_id)
    if isinstance(template, SenmlTemplate):
        return _senml_text(template, as_json)
    if isinstance(template, ModbusTemplate):
        reads, places, texts = _modbus_reads(template)
    else:
        assert isinstance(template, Dlt645Template | Cjt188Template), template.protocol
        reads, places, texts = _item_reads(template)
    if as_json:
        return json.dumps({**template.model_dump(mode="json"), "reads": reads}, ensure_ascii=False, indent=2)
    lines = _identity(template)
    lines += [
        f"  {one.channel:32} {place}  × {one.scale} {one.unit}"
        for one, place in zip(template.registers, places, strict=True)
    ]
    lines += [f"  read {text}" for text in texts]
    return "\n".join(lines)


_Reads = tuple[list[dict[str, Any]], list[str], list[str]]
"""Requests of a full poll, where each register lies, and the requests in words."""


def _modbus_reads(template: ModbusTemplate) -> _Reads:
    reader = max(compile_template(template).items(), key=lambda item: len(item[0]))[1]
    reads = [{"function": one.block.function, "address": one.block.address, "count": one.block.count} for one in reader]
    places = [f"FC{one.function} @{one.address:<6} {one.type.value}" for one in template.registers]
    return reads, places, [f"FC{one['function']} @{one['address']} × {one['count']}" for one in reads]


def _item_reads(template: Dlt645Template | Cjt188Template) -> _Reads:
    items = list(dict.fromkeys(one.id for one in template.registers))
    return [{"item": item} for item in items], [one.where for one in template.registers], items


def _identity(template: DeviceTemplate) -> list[str]:
    lines = [f"{template.vendor} {template.model} ({template.medium.value}), proven: {template.proven}"]
    return lines + [f"  source: {source.reference} - {source.covers}" for source in template.sources]


def _senml_text(template: SenmlTemplate, as_json: bool) -> str:
    if as_json:
        return json.dumps(template.model_dump(mode="json"), ensure_ascii=False, indent=2)
    return "\n".join(
        [
            *_identity(template),
            *(
                f"  {one.channel:32} record {one.record:20} {one.field:5} × {one.scale} {one.unit}"
                for one in template.registers
            ),
        ]
    )
