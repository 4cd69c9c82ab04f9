"""Asks the guest agent, over HTTP on its unix socket (DStack, guest-agent API without a version)."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE = 5.0  # seconds; a quote takes one or two
MOST_BYTES = 4 << 20  # of an answer


class AgentError(Exception):
    """The guest agent does not answer, refuses, or says what makes no sense. Holds no part of a key."""


class Agent:
    """The guest agent behind a socket. `patience`: seconds that an answer may take."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self._path = path
        self._timeout = aiohttp.ClientTimeout(total=patience)

    async def instance_id(self) -> str:
        """Hexadecimal; empty when the application's instances are not told apart. Raises AgentError."""
        return _hexadecimal(await self._ask("Info"), "instance_id").hex()

    async def key(self, path: str) -> bytes:
        """32 secret bytes: the same for a path as long as the application has the same keys. Raises AgentError."""
        return _hexadecimal(await self._ask("GetKey", path=path, purpose="wireguard"), "key", length=32)

    async def quote(self, report_data: bytes) -> tuple[str, str]:
        """A quote in hexadecimal over 64 bytes, and the event log, JSON. Raises AgentError."""
        answer = await self._ask("GetQuote", report_data=report_data.hex())
        if not isinstance(answer.get("event_log"), str):
            raise AgentError("the guest agent gave no event log")
        return _hexadecimal(answer, "quote").hex(), answer["event_log"]

    async def _ask(self, method: str, **question: str) -> dict[str, Any]:
        try:
            status, content = await self._exchange(method, question)
        except (OSError, aiohttp.ClientError) as error:
            reason = str(error) or type(error).__name__
            raise AgentError(f"{self._path}: {method}: no answer from the guest agent: {reason}") from None
        return _answer(method, status, content)

    async def _exchange(self, method: str, question: dict[str, str]) -> tuple[int, bytes]:
        connector = aiohttp.UnixConnector(str(self._path))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=False) as session,
            session.post(f"http://localhost/{method}", json=question) as response,
        ):
            return response.status, await _content(method, response)


async def _content(method: str, response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise AgentError(f"{method}: the answer is longer than {MOST_BYTES} bytes")
    return bytes(content)


def _answer(method: str, status: int, content: bytes) -> dict[str, Any]:
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
