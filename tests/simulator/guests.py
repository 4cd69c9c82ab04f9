"""Guests of the simulator, and their agents on sockets."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

from dstack_sdk import DstackClient
from dstack_simulator.certificates import Authority
from dstack_simulator.guest import Guest
from dstack_simulator.server import Server

from vpn.model.app_compose import AppCompose

AUTHORITY = Authority(b"tests")
APP_ID = bytes([0xA1]) * 20
COMPOSE = AppCompose(name="vpn", docker_compose_file="services: {}\n")


def guest(
    compose: AppCompose = COMPOSE, app_id: bytes = APP_ID, instance: str = "1", authority: Authority = AUTHORITY
) -> Guest:
    """A guest that runs an application."""
    return Guest(authority, compose.text().encode(), app_id, instance)


@contextmanager
def running(socket: Path, one: Guest) -> Iterator[Path]:
    """The agent of a guest, on a socket."""
    with Server(socket, one) as server:
        thread = Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        try:
            yield socket
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def asked(socket: Path, one: Guest) -> Iterator[DstackClient]:
    """DStack's client for the agent of a guest."""
    with running(socket, one):
        client = DstackClient(str(socket))
        with client:  # it gives something else than itself
            yield client
