"""Reads the chain over JSON-RPC (Ethereum execution APIs), and believes nothing that is not well-formed.

The answer of a call is bounded in size and in time, as a whole: one byte a second holds up nothing.
"""

import http.client
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

CALL_SECONDS = 10
MAX_ANSWER = 4 << 20  # bytes; 4094 passes are 1.1 MB as hexadecimal
PASSES = "0xb8ee5289"  # selector of passes()
WORD = 32
FIELDS = 4
SHORTEST_SECRET = 6  # characters; shorter parts of a URL, like "v3", are words and not keys
QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,15})")
HASH = re.compile(r"0x[0-9a-f]{64}")


class ChainError(Exception):
    """The chain cannot be read, or is not to be believed."""


@dataclass(frozen=True)
class Block:
    """A block's header, as far as the gate goes by it."""

    number: int
    hash: str
    timestamp: int
    """Seconds since 1970."""


@dataclass(frozen=True)
class Pass:
    """An access pass at one block."""

    token: int
    owner: str
    key: bytes
    suspended: bool


class Chain:
    """One endpoint; the connection is kept between calls."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=CALL_SECONDS)
        self._path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self._secrets = [part for part in re.split("[/?&=]", self._path) if len(part) >= SHORTEST_SECRET]

    def block(self, which: str) -> Block:
        """The block of a tag (latest, safe, finalized) or of a number in hexadecimal."""
        found = self._call("eth_getBlockByNumber", which, False)  # noqa: FBT003 (headers only)
        if not isinstance(found, dict):
            raise ChainError(f"there is no block {which}")
        digest = found.get("hash")
        if not isinstance(digest, str) or not HASH.fullmatch(digest):
            raise ChainError(f"block {which} has no hash")
        return Block(_quantity(found.get("number")), digest, _quantity(found.get("timestamp")))

    def passes(self, contract: str, block: Block) -> list[Pass] | None:
        """All passes at just this block (EIP-1898); None when the contract was not there yet.

        An endpoint that no longer has the block, because the chain went another way, refuses.
        """
        pinned = {"blockHash": block.hash, "requireCanonical": True}
        found = self._call("eth_call", {"to": contract, "data": PASSES}, pinned)
        if found == "0x":
            return None
        return decode(found)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def _call(self, method: str, *parameters: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        try:
            with _deadline(CALL_SECONDS):
                answer = self._post(body)
        except (OSError, ValueError, http.client.HTTPException, RecursionError) as error:
            self.close()
            raise ChainError(self._told(f"{method}: {error or type(error).__name__}")) from None
        if not isinstance(answer, dict) or "result" not in answer:
            reason = answer.get("error") if isinstance(answer, dict) else "no object"
            raise ChainError(self._told(f"{method}: {reason}"))
        return answer["result"]

    def _post(self, body: str) -> Any:
        try:
            return self._exchange(body)
        except ConnectionError:  # it ended an idle connection
            self.close()
            return self._exchange(body)

    def _exchange(self, body: str) -> Any:
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read(MAX_ANSWER + 1)
        if len(content) > MAX_ANSWER:
            raise ValueError(f"the answer is longer than {MAX_ANSWER} bytes")
        if response.status != HTTPStatus.OK:
            raise ValueError(f"HTTP status {response.status}")
        return json.loads(content)

    def _told(self, text: str) -> str:
        """A message without what may be a key in the URL, in a bounded length."""
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return text[:300]


def decode(data: object) -> list[Pass]:
    """Decode the dynamic array of (uint256, address, bytes32, bool) that passes() returns (Solidity ABI). Strict.

    Raises ChainError.
    """
    try:
        raw = bytes.fromhex(str(data).removeprefix("0x"))
    except ValueError:
        raise ChainError("the passes are not hexadecimal") from None
    words = [raw[start : start + WORD] for start in range(0, len(raw), WORD)]
    numbers = [int.from_bytes(word) for word in words[:2]]
    if len(raw) < 2 * WORD or numbers[0] != WORD or len(raw) != (2 + FIELDS * numbers[1]) * WORD:
        raise ChainError(f"the passes are no array of passes: {len(raw)} bytes")
    return [_pass(words[start : start + FIELDS]) for start in range(2, len(words), FIELDS)]


def _pass(words: list[bytes]) -> Pass:
    token, owner, key, suspended = words
    if any(owner[:12]) or int.from_bytes(suspended) > 1:
        raise ChainError("a pass is not well-formed")
    return Pass(int.from_bytes(token), f"0x{owner[12:].hex()}", key, any(suspended))


def _quantity(value: object) -> int:
    if not isinstance(value, str) or not QUANTITY.fullmatch(value):
        raise ChainError("a block's number or time is no quantity")
    return int(value, 16)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread after so long, whatever it waits for."""

    def expired(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
