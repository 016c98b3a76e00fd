"""A database server that crashes."""

import psutil

from cloud.kit.embedded import EmbeddedPostgres


def crash(server: EmbeddedPostgres) -> None:
    """Every process of the server ends at once: nothing is flushed, nobody says goodbye."""
    postmaster = psutil.Process(server.pid)
    family = [*postmaster.children(recursive=True), postmaster]
    postmaster.suspend()  # so that it cannot restart its children meanwhile
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)
