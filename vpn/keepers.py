"""Speaks with the keepers of nodes in confidential VMs, over HTTP through DStack's gateway."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus

from vpn.model.ingress import Ingress
from vpn.model.untrusted import read_json

MOST_BYTES = 2 << 20  # of an answer; evidence has at most half of that
SECONDS = 15  # for an answer


class KeeperError(Exception):
    """A keeper does not answer, or refuses."""


class _Connection(http.client.HTTPConnection):
    """HTTP, over TLS to a gateway that is told by SNI where it goes on."""

    def __init__(self, ingress: Ingress) -> None:
        self._where, _, self._at = ingress.endpoint.rpartition(":")
        self._name = ingress.tls.name if ingress.tls else self._where
        self._context = ssl.create_default_context(cadata=(ingress.tls and ingress.tls.authorities) or None)
        super().__init__(self._name, timeout=SECONDS)

    def connect(self) -> None:
        tcp = socket.create_connection((self._where, int(self._at)), SECONDS)
        self.sock = self._context.wrap_socket(tcp, server_hostname=self._name)


def ask(ingress: Ingress, method: str, path: str, body: str | None = None) -> bytes:
    """What a keeper answers. Raises KeeperError."""
    connection = _Connection(ingress)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        content = response.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise KeeperError(f"{connection.host} does not answer: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise KeeperError(f"{connection.host} refuses with HTTP status {response.status}: {_reason(content)}")
    return content


def _reason(content: bytes) -> str:
    """What a stranger says, for a terminal."""
    return repr(content[:300].decode(errors="replace"))


@dataclass(frozen=True, kw_only=True)
class State:
    """What a keeper says of its work."""

    serial: int
    """Of the last order; 0 before the first."""
    missing: tuple[str, ...]
    """Who has not applied it yet."""


def state(ingress: Ingress) -> State:
    """How far the last order is applied. Raises KeeperError."""
    return _state(ask(ingress, "GET", "/state"))


def give(ingress: Ingress, order: str) -> State:
    """Hand over an order. Raises KeeperError."""
    return _state(ask(ingress, "PUT", "/order", order))


def _state(content: bytes) -> State:
    try:
        answer = read_json(content.decode())
        return State(serial=int(answer["serial"]), missing=tuple(repr(one)[:40] for one in answer["missing"][:10]))
    except (ValueError, TypeError, KeyError) as error:
        raise KeeperError(f"the keeper's answer tells nothing: {error!r}"[:300]) from None
