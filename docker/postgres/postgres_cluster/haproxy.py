"""HAProxy: leads clients to the primary, and to replicas."""

import re
import signal
import socket
from contextlib import closing

from postgres_cluster.process import RUN, Process

CONFIG = "haproxy.cfg"
BIND = re.compile(rb"^ *bind ([0-9.]+):([0-9]+)$", re.MULTILINE)
SECONDS = 2


class Haproxy:
    """A master process with one worker; after a reload open connections have a minute.

    (HAProxy, Configuration Manual, hard-stop-after.) Longer, and nobody would end those to a lost primary.
    """

    def __init__(self) -> None:
        command = ("haproxy", "-W", "-db", "-f", str(RUN / CONFIG))
        self._process = Process("haproxy", *command, reload=signal.SIGUSR2)
        self._ports: list[tuple[str, int]] = []

    def accept(self, files: dict[str, bytes]) -> None:
        """Start it, or have it read what changed."""
        self._ports = [(address.decode(), int(port)) for address, port in BIND.findall(files[CONFIG])]
        self._process.have(files)

    def converge(self) -> str:
        """Look whether it listens."""
        for port in self._ports:
            with closing(socket.create_connection(port, SECONDS)):
                pass
        return ""

    def status(self) -> int | None:
        """Exit status of the master process."""
        return self._process.status()

    def stop(self) -> None:
        """End all connections: SIGUSR1 would wait for them."""
        self._process.stop()
