"""A picture on its way to a link that the cloud gave."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec

from gateway.contract import codec
from gateway.contract.messages import Action, Command
from gateway.drivers.barrier.pictures import Pictures, unsent_passages
from gateway.outbox import Outbox
from tests.integration.barrier.conftest import running_gateway
from tests.integration.broker import Mosquitto, until
from tests.integration.uplink.cloud import Cloud
from tests.ports import free_port

JPEG = b"\xff\xd8\xff\xe0a vehicle"
PASSAGE = str(uuid.uuid4())


@contextmanager
def server(status: int, taken: list[tuple[str, bytes]]) -> Iterator[str]:
    """Takes pictures, or not; gives where it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    serving = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()
    thread.join()


async def fate(cloud: Cloud, command: Command) -> tuple[str, str]:
    """How the command ended, and what was said of it."""
    await cloud.send(codec.encode_command(command))
    await until(lambda: cloud.states_of(command)[-1:] not in ([], ["delivered"], ["executing"]))
    last = [result for result in cloud.results if result.command_id == command.id][-1]
    return last.state.value, last.detail


def wanted(cloud: Cloud, link: str, passage: str = PASSAGE) -> Command:
    return cloud.command("lane-in", Action.SEND_PICTURE, arguments={"passage": passage, "link": link})


async def test_a_picture_goes_to_its_link_and_what_does_not_arrive_is_told(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox, tmp_path: Path
) -> None:
    pictures = Pictures(tmp_path / "pictures", 1 << 20, lambda: unsent_passages(outbox))
    await pictures.keep(PASSAGE, JPEG)
    taken: list[tuple[str, bytes]] = []
    async with running_gateway(outbox, mosquitto, cloud, pictures=pictures):
        with server(204, taken) as there:
            assert await fate(cloud, wanted(cloud, f"{there}/p?expires=5&signature=s")) == ("done", "")
            assert taken == [("/p?expires=5&signature=s", JPEG)]
            other = await fate(cloud, wanted(cloud, f"{there}/p", str(uuid.uuid4())))
            assert other == ("failed", "no picture of this passage is here")
            forged = msgspec.structs.replace(wanted(cloud, f"{there}/p"), actor="somebody else")
            assert (await fate(cloud, forged))[0] == "failed"
            assert len(taken) == 1
        with server(403, taken) as there:
            assert await fate(cloud, wanted(cloud, f"{there}/p?signature=s")) == ("failed", "127.0.0.1: it answers 403")
        nobody = await fate(cloud, wanted(cloud, f"http://127.0.0.1:{free_port()}/p?signature=secret"))
        assert nobody == ("failed", "127.0.0.1: ConnectionRefusedError")


async def test_a_gateway_that_keeps_no_pictures_says_so(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    async with running_gateway(outbox, mosquitto, cloud) as line:
        assert (await fate(cloud, wanted(cloud, "https://cloud.example/p")))[0] == "failed"
        assert Action.SEND_PICTURE not in line.health()[0].actions
