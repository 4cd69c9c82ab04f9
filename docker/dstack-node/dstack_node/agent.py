"""Asks the guest agent, over HTTP on its unix socket (DStack, guest-agent API without a version)."""

import http.client
import json
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

CALL_SECONDS = 30  # a quote takes a second or two
PAUSE = 0.5  # seconds
MOST_BYTES = 4 << 20  # of an answer


class AgentError(Exception):
    """The guest agent does not answer, refuses, or says what makes no sense. Holds no part of a key."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Agent:
    """The guest agent behind a socket. `patience`: seconds that it may take to come up."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience

    def instance_id(self) -> str:
        """Hexadecimal; empty when the application's instances are not told apart."""
        return _hexadecimal(self._ask("Info"), "instance_id").hex()

    def key(self, path: str) -> bytes:
        """32 secret bytes: the same for a path as long as the application has the same keys. Raises AgentError."""
        return _hexadecimal(self._ask("GetKey", path=path, purpose="wireguard"), "key", length=32)

    def quote(self, report_data: bytes) -> tuple[str, str]:
        """A quote in hexadecimal over 64 bytes, and the event log, JSON. Raises AgentError."""
        answer = self._ask("GetQuote", report_data=report_data.hex())
        if not isinstance(answer.get("event_log"), str):
            raise AgentError("the guest agent gave no event log")
        return _hexadecimal(answer, "quote").hex(), answer["event_log"]

    def _ask(self, method: str, **question: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        return _until(deadline, lambda: self._exchange(method, json.dumps(question)), f"{self._path}: {method}")

    def _exchange(self, method: str, question: str) -> dict[str, Any]:
        connection = UnixConnection(self._path)
        try:
            connection.request("POST", f"/{method}", question, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read(MOST_BYTES + 1)
        finally:
            connection.close()
        return _answer(method, response.status, content)


def _until(deadline: float, ask: Callable[[], dict[str, Any]], what: str) -> dict[str, Any]:
    """Ask again while there is nobody: the agent starts after Docker does."""
    while True:
        try:
            return ask()
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise AgentError(f"{what}: no answer from the guest agent: {error or type(error).__name__}") from None
        time.sleep(PAUSE)


def _answer(method: str, status: int, content: bytes) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise AgentError(f"{method}: the answer is longer than {MOST_BYTES} bytes")
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if status != HTTPStatus.OK:
        reason = answer.get("error") if isinstance(answer, dict) else "no reason"
        raise AgentError(f"{method}: the guest agent refuses with HTTP status {status}: {reason!s:.300}")
    if not isinstance(answer, dict):
        raise AgentError(f"{method}: the answer is no JSON object")
    return answer


def _hexadecimal(answer: dict[str, Any], name: str, length: int = 0) -> bytes:
    """Bytes out of an answer; says nothing of a wrong value, which may be a key."""
    try:
        raw = bytes.fromhex(answer[name])
    except (KeyError, TypeError, ValueError):
        raise AgentError(f"the guest agent gave no {name} in hexadecimal") from None
    if length and len(raw) != length:
        raise AgentError(f"the guest agent gave a {name} of {len(raw)} bytes, not {length}")
    return raw
