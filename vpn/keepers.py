"""Speaks with the keepers of nodes in confidential VMs, over HTTP through DStack's gateway."""

import http.client
import random
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from vpn.model.ingress import Ingress
from vpn.model.untrusted import read_json, shown

MOST_BYTES = 2 << 20  # of an answer; evidence has at most half of that
SECONDS = 15  # to connect, and then for a whole answer
BUSY_SECONDS = 60  # anybody may ask a keeper, so it may have others to answer first
PAUSE_SECONDS = (1, 3)
MOST_SHOWN = 300  # characters of what somebody else says


class KeeperError(Exception):
    """A keeper does not answer, or refuses."""


class _Connection(http.client.HTTPConnection):
    """HTTP, over TLS to a gateway that is told by SNI where it goes on. It ends in time, however slow the other is."""

    def __init__(self, ingress: Ingress) -> None:
        self._where, _, self._at = ingress.endpoint.rpartition(":")
        self._name = ingress.tls.name if ingress.tls else self._where
        self._context = ssl.create_default_context(cadata=(ingress.tls and ingress.tls.authorities) or None)
        self._end = threading.Timer(SECONDS, self._abort)
        self._tcp: socket.socket | None = None
        super().__init__(self._name, timeout=SECONDS)

    def connect(self) -> None:
        tcp = socket.create_connection((self._where, int(self._at)), SECONDS)
        self._tcp = tcp.dup()  # outlives the wrapping, which takes the descriptor away
        self._end.start()
        self.sock = self._context.wrap_socket(tcp, server_hostname=self._name)

    def close(self) -> None:
        self._end.cancel()
        super().close()
        if self._tcp:
            self._tcp.close()

    def _abort(self) -> None:
        with suppress(OSError):
            if self._tcp:
                self._tcp.shutdown(socket.SHUT_RDWR)


def ask(ingress: Ingress, method: str, path: str, body: str | None = None, *, patience: float = BUSY_SECONDS) -> bytes:
    """What a keeper answers; one that is busy is asked again for so many seconds. Raises KeeperError."""
    deadline = time.monotonic() + patience
    while True:
        status, content = _exchange(ingress, method, path, body)
        if status == HTTPStatus.OK:
            return content
        if status != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
            name = ingress.tls.name if ingress.tls else ingress.endpoint
            raise KeeperError(f"{name} refuses with HTTP status {status}: {_told(content)}")
        time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 (no secret)


def _exchange(ingress: Ingress, method: str, path: str, body: str | None) -> tuple[int, bytes]:
    connection = _Connection(ingress)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        content = _whole(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = shown(str(error)[:MOST_SHOWN]) or type(error).__name__
        raise KeeperError(f"{connection.host} does not answer: {reason}") from None
    finally:
        connection.close()
    return response.status, content


def _whole(response: http.client.HTTPResponse) -> bytes:
    content = response.read(MOST_BYTES)
    if response.length:
        raise http.client.HTTPException("the answer broke off, or is too long")
    return content


def _told(content: bytes) -> str:
    return shown(content[:MOST_SHOWN].decode(errors="replace"))


@dataclass(frozen=True, kw_only=True)
class State:
    """What a keeper says of its work."""

    serial: int
    """Of the last order; 0 before the first."""
    missing: tuple[str, ...]
    """Who has not applied it yet."""


def state(ingress: Ingress, *, patience: float = BUSY_SECONDS) -> State:
    """How far the last order is applied. Raises KeeperError."""
    return _state(ask(ingress, "GET", "/state", patience=patience))


def give(ingress: Ingress, order: str) -> State:
    """Hand over an order. Raises KeeperError."""
    return _state(ask(ingress, "PUT", "/order", order))


def _state(content: bytes) -> State:
    try:
        answer = read_json(content.decode())
        return State(
            serial=int(answer["serial"]), missing=tuple(shown(str(one))[:40] for one in answer["missing"][:10])
        )
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise KeeperError(f"the keeper's answer tells nothing: {shown(str(error))[:MOST_SHOWN]}") from None
