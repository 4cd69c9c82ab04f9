"""The gate believes nothing of an endpoint that is not well-formed, waits for nothing for ever, and tells no secret."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from access_gate import rpc
from access_gate.rpc import Block, Chain, ChainError, Pass, decode
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

SECRET = "hunter2-key"
HASH = "0x" + "ab" * 32
HEADER = {"number": "0x10", "hash": HASH, "timestamp": "0x6553f100"}
BLOCK = Block(16, HASH, 0x6553F100)
CONTRACT = "0x" + "12" * 20
TYPES = ["(uint256,address,bytes32,bool)[]"]

Handle = Callable[[BaseHTTPRequestHandler, Any], None]


class Handler(BaseHTTPRequestHandler):
    """Gives what the test wants to answer the question."""

    protocol_version = "HTTP/1.1"

    def __init__(self, handle: Handle, asked: list[Any], *arguments: Any) -> None:
        self.handle_question, self.asked = handle, asked
        super().__init__(*arguments)

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question)
        self.handle_question(self, question)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoint(handle: Handle) -> Iterator[tuple[Chain, list[Any]]]:
    """An endpoint on the loopback interface, and what it was asked."""
    asked: list[Any] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, handle, asked))
    server.daemon_threads = True
    thread = Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    chain = Chain(f"http://127.0.0.1:{server.server_port}/v3/{SECRET}?token={SECRET}")
    try:
        yield chain, asked
    finally:
        chain.close()
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def result(value: Any) -> Handle:
    """Answer every question with a result."""
    return lambda handler, _: send(handler, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode())


def raw(body: bytes, status: int = 200) -> Handle:
    """Answer every question with a body."""
    return lambda handler, _: send(handler, body, status)


# --- what is well-formed


def test_a_block_and_the_passes_of_just_that_block() -> None:
    answers = {"eth_getBlockByNumber": HEADER, "eth_call": f"0x{encode(TYPES, [[]]).hex()}"}
    with endpoint(lambda handler, question: result(answers[question["method"]])(handler, question)) as (chain, asked):
        assert chain.block("latest") == BLOCK
        assert chain.passes(CONTRACT, BLOCK) == []
    pinned = {"blockHash": HASH, "requireCanonical": True}
    assert [one["params"] for one in asked] == [["latest", False], [{"to": CONTRACT, "data": "0xb8ee5289"}, pinned]]


def test_no_code_at_the_address_is_no_contract() -> None:
    with endpoint(result("0x")) as (chain, _):
        assert chain.passes(CONTRACT, BLOCK) is None


def test_an_endpoint_that_ended_the_connection_is_asked_again() -> None:
    def answer_and_hang_up(handler: BaseHTTPRequestHandler, question: Any) -> None:
        result(HEADER)(handler, question)
        handler.close_connection = True

    with endpoint(answer_and_hang_up) as (chain, _):
        assert [chain.block("latest"), chain.block("latest")] == [BLOCK, BLOCK]


words = st.integers(0, 2**256 - 1)
entries = st.lists(
    st.tuples(words, st.binary(min_size=20, max_size=20), st.binary(min_size=32, max_size=32), st.booleans()),
    max_size=5,
)


@given(entries)
def test_what_the_contract_encodes_is_decoded(passes: list[tuple[int, bytes, bytes, bool]]) -> None:
    told = [(token, f"0x{owner.hex()}", key, suspended) for token, owner, key, suspended in passes]
    assert decode(f"0x{encode(TYPES, [told]).hex()}") == [Pass(*one) for one in told]


# --- what is not


@given(st.text(max_size=40) | st.none() | st.integers() | st.binary(max_size=400).map(lambda data: f"0x{data.hex()}"))
def test_garbage_is_refused_or_a_list_of_passes(data: object) -> None:
    with suppress(ChainError):
        assert all(isinstance(one, Pass) for one in decode(data))


@given(entries, st.integers(0, 2**16), st.integers(1, 255))
def test_a_damaged_answer_is_refused_or_is_another_list(passes: list[Any], place: int, change: int) -> None:
    good = bytearray(encode(TYPES, [[(token, f"0x{owner.hex()}", key, gone) for token, owner, key, gone in passes]]))
    good[place % len(good)] ^= change
    with suppress(ChainError):
        assert all(isinstance(one, Pass) for one in decode(f"0x{good.hex()}"))


@pytest.mark.parametrize(
    "data",
    [
        "0x",
        "0xzz",
        "0x" + "00" * 64,
        f"0x{encode(['uint256', 'uint256'], [32, 1]).hex()}",
        f"0x{encode(['uint256', 'uint256'], [32, 2**255]).hex()}",
        f"0x{encode(['uint256'] * 6, [32, 1, 7, 2**160, 0, 0]).hex()}",
        f"0x{encode(['uint256'] * 6, [32, 1, 7, 0, 0, 2]).hex()}",
    ],
)
def test_passes_that_are_none(data: str) -> None:
    with pytest.raises(ChainError):
        decode(data)


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        (result(None), "there is no block latest"),
        (result([]), "there is no block latest"),
        (result({**HEADER, "hash": "0x12"}), "block latest has no hash"),
        (result({**HEADER, "hash": None}), "block latest has no hash"),
        (result({**HEADER, "number": 16}), "is no quantity"),
        (result({**HEADER, "number": "0x010"}), "is no quantity"),
        (result({**HEADER, "timestamp": "0x" + "1" * 17}), "is no quantity"),
        (raw(b"{}"), "eth_getBlockByNumber: None"),
        (raw(b"[]"), "eth_getBlockByNumber: no object"),
        (raw(b""), "eth_getBlockByNumber: "),
        (raw(b"\xff"), "eth_getBlockByNumber: "),
        (raw(b"", status=502), "HTTP status 502"),
        (raw(json.dumps({"error": {"message": "x" * 9999}}).encode()), "eth_getBlockByNumber: {'message': 'xxx"),
    ],
)
def test_an_answer_that_is_none(handle: Handle, reason: str) -> None:
    with endpoint(handle) as (chain, _), pytest.raises(ChainError) as caught:
        chain.block("latest")
    assert reason in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_an_answer_that_is_nested_too_deep() -> None:
    """In the gate's image; here a library of the tests' has raised the bound on recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        with endpoint(raw(b"[" * 100_000)) as (chain, _), pytest.raises(ChainError, match="recursion"):
            chain.block("latest")
    finally:
        sys.setrecursionlimit(before)


def test_an_answer_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "MAX_ANSWER", 1000)
    with endpoint(raw(b" " * 1001)) as (chain, _), pytest.raises(ChainError, match="longer than 1000 bytes"):
        chain.block("latest")


def test_one_byte_after_the_other_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "CALL_SECONDS", 0.5)

    def drip(handler: BaseHTTPRequestHandler, _: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return
            time.sleep(0.05)

    started = time.monotonic()
    with endpoint(drip) as (chain, _):
        with pytest.raises(ChainError, match=r"no answer within 0\.5 s"):
            chain.block("latest")
        assert time.monotonic() - started < 2


def test_nobody_there() -> None:
    with pytest.raises(ChainError, match=r"eth_getBlockByNumber: .*refused"):
        Chain("http://127.0.0.1:9").block("latest")


def test_a_secret_of_the_url_is_not_told() -> None:
    def tell_back(handler: BaseHTTPRequestHandler, _: Any) -> None:
        send(handler, json.dumps({"error": f"bad key in {handler.path}: {SECRET}"}).encode())

    with endpoint(tell_back) as (chain, _), pytest.raises(ChainError) as caught:
        chain.block("latest")
    assert SECRET not in str(caught.value)
