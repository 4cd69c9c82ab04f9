"""The keeper as a program, beside the simulator: evidence, orders, the exchange, and who means it no good."""

import asyncio
import http.client
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from dstack_node.agent import Agent
from dstack_node.api import MOST_ASKING, MOST_BYTES, Api
from dstack_node.connection import MOST
from dstack_node.keeper import Keeper
from dstack_node.node import Node
from dstack_node.service import listening
from dstack_simulator.guest import Guest

from tests.dstack.claims import NONCE, POLICY, expected
from tests.dstack.keepers import (
    FILES,
    HOST,
    SECONDS,
    SETTINGS,
    SIGNER,
    STRANGER,
    World,
    order,
    request,
    signed,
    until,
)
from tests.model.example import KEYS, MESH, NODE_A
from tests.simulator.guests import APP_ID, AUTHORITY, COMPOSE, guest, running
from vpn.attestation import admit
from vpn.model.attestation import Evidence
from vpn.model.bundle import node_files, with_checksums

BOTH = ["node", "relay"]
OTHER_FILES = {"node": FILES | {"hosts": "10.0.0.9 other\n"}, "relay": {"settings.json": SETTINGS}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def keeper(world: World) -> Iterator[World]:
    """A keeper with its guest agent."""
    with running(world.socket, guest()), world.keeper():
        yield world


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """Changes when a file is written anew."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


# --- evidence


def test_evidence_is_good_for_any_epoch_and_names_the_key_of_the_config(keeper: World) -> None:
    for epoch in (1, 2):
        answer = keeper.evidence(epoch)
        assert (answer.status, answer.text.count("\n"), answer.headers["Connection"]) == (200, 1, "close")
        key = admit(Evidence.parse(answer.text.encode()), POLICY, expected(epoch=epoch), int(time.time()))
        keeper.put(epoch, epoch=epoch)
        assert keeper.private_key().public() == key


QUERIES = [
    "",
    "?epoch=1",
    f"?epoch=1&nonce={NONCE.hex()}&epoch=1",
    f"?epoch=1&nonce={NONCE.hex()}&x=1",
    f"?epoch=-1&nonce={NONCE.hex()}",
    f"?epoch={1 << 53}&nonce={NONCE.hex()}",
    f"?epoch=%D9%A1&nonce={NONCE.hex()}",
    "?epoch=1&nonce=00",
    f"?epoch=1&nonce={NONCE.hex().replace('01', '0A')}",
]


def test_a_question_of_another_form_is_refused(keeper: World) -> None:
    answers = [keeper.ask("GET", f"/evidence{query}") for query in QUERIES]
    assert [(answer.status, list(answer.json)) for answer in answers] == [(400, ["error"])] * len(QUERIES)


def test_other_questions_have_an_error_for_an_answer(keeper: World) -> None:
    answers = [keeper.ask(*one) for one in [("GET", "/"), ("POST", "/order"), ("HEAD", "/evidence")]]
    assert [answer.status for answer in answers] == [404, 405, 405]
    assert [set(answer.json) for answer in answers[:2]] == [{"error"}] * 2


def test_without_an_agent_there_is_no_evidence(world: World) -> None:
    with world.keeper():
        answer = world.evidence()
        assert answer.status == HTTPStatus.BAD_GATEWAY
        assert "no answer from the guest agent" in answer.json["error"]


class Slow(Guest):
    """An agent that gives no quote before the test lets it."""

    def __init__(self) -> None:
        super().__init__(AUTHORITY, COMPOSE.text().encode(), APP_ID, "1")
        self.go_on = Event()
        self.at_work = self.most_at_work = 0

    def methods(self) -> Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]:
        return {**super().methods(), "GetQuote": self._slowly}

    def _slowly(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        self.go_on.wait(SECONDS)
        self.at_work -= 1
        return self._get_quote(arguments)


def test_a_few_may_wait_for_evidence_and_no_more(world: World) -> None:
    agent = Slow()
    many = MOST_ASKING + 3
    with running(world.socket, agent), world.keeper(), ThreadPoolExecutor(many) as pool:
        asking = [pool.submit(world.evidence) for _ in range(many)]
        until(lambda: sum(one.done() for one in asking) == 3)
        refused = [one.result() for one in asking if one.done()]
        assert world.ask("GET", "/state").status == HTTPStatus.OK
        agent.go_on.set()
        served = [one.result() for one in asking if one.result() not in refused]
    assert [(one.status, one.headers["Retry-After"]) for one in refused] == [(503, "5")] * 3
    assert [one.status for one in served] == [200] * MOST_ASKING
    assert agent.most_at_work == 1


def test_who_asks_and_leaves_takes_nobody_s_turn(world: World) -> None:
    agent = Slow()
    question = f"GET /evidence?epoch=1&nonce={NONCE.hex()} HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(world.socket, agent), world.keeper(), ThreadPoolExecutor(MOST_ASKING) as pool:
        for _ in range(2 * MOST_ASKING):
            with closing(socket.create_connection((HOST, world.port))) as leaving:
                leaving.sendall(question.encode())
        agent.go_on.set()
        until(lambda: world.evidence().status == HTTPStatus.OK)
        assert [one.status for one in pool.map(lambda _: world.evidence(), range(MOST_ASKING))] == [200] * MOST_ASKING


# --- orders


def test_an_order_is_carried_out(keeper: World) -> None:
    before = time.time_ns() // 1_000_000
    answer = keeper.put()
    assert (answer.status, answer.json) == (200, {"serial": 1, "missing": BOTH})
    assert 0 <= keeper.moment() - before - 60_000 < 10_000
    for folder in (keeper.node, keeper.relay):
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
            contents(folder), 0o600
        )
        assert (folder / "asked").exists()
    wanted = with_checksums(node_files(MESH, KEYS, NODE_A))
    found = contents(keeper.node)
    assert set(found) == {*wanted, "asked", "switch-at"}
    assert {name: found[name].decode() for name in FILES if name != "wg0.conf"} == {
        name: wanted[name] for name in FILES if name != "wg0.conf"
    }
    lines, stacks = found["wg0.conf"].decode().split("\n"), wanted["wg0.conf"].split("\n")
    assert (lines[0], lines[2:]) == (stacks[0], stacks[2:])
    keeper.apply()


def test_who_applied_is_missing_no_more(keeper: World) -> None:
    assert keeper.ask("GET", "/state").json == {"serial": 0, "missing": []}
    until(lambda: keeper.health() == (0, "ok: waits for its first order\n"))
    keeper.put()
    keeper.apply(keeper.relay)
    assert keeper.missing() == ["node"]
    until(lambda: keeper.health() == (1, "failed: waiting for: node\n"))
    keeper.apply(keeper.node)
    assert keeper.missing() == []
    until(lambda: keeper.health() == (0, "ok: order 1 is applied\n"))
    keeper.put(2, files=OTHER_FILES)
    assert keeper.missing() == BOTH
    assert (keeper.node / "hosts").read_text() == "10.0.0.9 other\n"


def test_an_order_without_a_relay_asks_for_none(keeper: World) -> None:
    keeper.relay.rmdir()
    assert keeper.put(files={"node": FILES}).json == {"serial": 1, "missing": ["node"]}


def test_the_same_files_at_a_named_moment_are_confirmed_and_not_written(keeper: World) -> None:
    keeper.put()
    keeper.apply()
    moment, before = keeper.moment(), states(keeper.node)
    assert keeper.put(2).json == {"serial": 2, "missing": BOTH}
    assert keeper.moment() == moment
    keeper.apply()
    assert keeper.put(3, moment=1234).json == {"serial": 3, "missing": BOTH}
    assert (keeper.moment("node"), keeper.moment("relay")) == (1234, 1234)
    assert {name: states(keeper.node)[name] for name in FILES} == {name: before[name] for name in FILES}
    keeper.apply()
    assert keeper.missing() == []


def test_an_order_with_a_moment_is_delivered_with_it(keeper: World) -> None:
    keeper.put(moment=1234)
    assert keeper.moment() == 1234


@pytest.mark.parametrize("restarted", [False, True])
def test_an_order_counts_once(world: World, restarted: bool) -> None:  # noqa: FBT001 (two cases)
    first, second = request(4), request(5, files=OTHER_FILES)
    with running(world.socket, guest()), ExitStack() as life:
        life.enter_context(world.keeper())
        assert [world.ask("PUT", "/order", one).status for one in (first, second)] == [200, 200]
        if restarted:
            life.close()
            life.enter_context(world.keeper())
        for again in (first, second, request(0), request(5)):
            answer = world.ask("PUT", "/order", again)
            assert (answer.status, set(answer.json)) == (HTTPStatus.CONFLICT, {"error"})
        assert world.ask("GET", "/state").json["serial"] == 5
        assert (world.node / "hosts").read_text() == "10.0.0.9 other\n"


NO_ORDERS = [
    (403, signed(json.dumps(order()), STRANGER)),
    (403, request(network="lan")),
    (403, request(node="node-b")),
    (400, request(files={"node": FILES | {"../../x": ""}})),
    (400, signed("[" * 100_000)),
    (400, b"[" * 100_000),
    (400, b"\xff"),
    (400, b""),
    (413, b'"' + b"x" * MOST_BYTES + b'"'),
    (413, request(files={"node": FILES | {"hosts": "x" * MOST_BYTES}})),
]


def test_another_s_order_or_none_changes_nothing(keeper: World) -> None:
    answers = [keeper.ask("PUT", "/order", body) for _, body in NO_ORDERS]
    assert [answer.status for answer in answers] == [status for status, _ in NO_ORDERS]
    assert [list(answer.json) for answer in answers] == [["error"]] * len(NO_ORDERS)
    assert [list(folder.iterdir()) for folder in (keeper.node, keeper.relay, keeper.state)] == [[], [], []]


def test_a_compressed_body_stays_small(keeper: World) -> None:
    with closing(http.client.HTTPConnection(HOST, keeper.port, timeout=SECONDS)) as connection:
        connection.request("PUT", "/order", b"\x1f\x8b", {"Content-Encoding": "gzip"})
        assert connection.getresponse().status == HTTPStatus.BAD_REQUEST


# --- what others do to the folders


def test_what_is_not_as_ordered_is_put_right(keeper: World) -> None:
    keeper.put()
    keeper.apply()
    wanted = contents(keeper.node)
    (keeper.node / "nftables.nft").write_text("flush ruleset\n")
    (keeper.node / "stray").mkdir()
    (keeper.node / "node.env").unlink()
    (keeper.node / "node.env").symlink_to(keeper.state / "order.json")
    (keeper.node / "paths").unlink()
    os.mkfifo(keeper.node / "paths")
    (keeper.node / "hosts").chmod(0o644)
    kept = (keeper.state / "order.json").read_bytes()
    until((keeper.node / "asked").exists)
    keeper.apply(keeper.node)
    assert contents(keeper.node) | {"switch-at": b""} == wanted | {"switch-at": b""}
    assert stat.S_IMODE((keeper.node / "hosts").stat().st_mode) == 0o600
    assert (keeper.state / "order.json").read_bytes() == kept
    assert keeper.missing() == []
    assert keeper.said.count("delivered to: relay") == 1


def test_what_the_exchange_is_written_to_may_be_a_trap(keeper: World) -> None:
    keeper.put()
    kept = (keeper.state / "order.json").read_bytes()
    for name in ("asked", "switch-at"):
        (keeper.node / name).unlink()
        (keeper.node / name).symlink_to(keeper.state / "order.json")
    (keeper.node / "applied").mkdir()
    assert keeper.put(2, moment=7).json == {"serial": 2, "missing": BOTH}
    assert (keeper.moment(), (keeper.node / "asked").read_bytes()) == (7, b"")
    assert json.loads(kept)["order"] != json.loads((keeper.state / "order.json").read_bytes())["order"]


# --- restarts


def test_an_order_outlives_the_keeper(world: World) -> None:
    with running(world.socket, guest()):
        with world.keeper():
            world.put()
            world.apply()
        before = states(world.node)
        with world.keeper():
            until(lambda: world.missing() == [])
        assert states(world.node) == before
        (world.node / "hosts").write_text("")
        with world.keeper():
            until((world.node / "asked").exists)
        assert (world.node / "hosts").read_text() == FILES["hosts"]


def test_an_agent_that_is_not_up_yet_is_awaited(world: World) -> None:
    with world.keeper():
        assert world.put().json == {"serial": 1, "missing": BOTH}
        until(lambda: world.health()[1].startswith("failed: ") and "guest agent" in world.health()[1])
        with running(world.socket, guest()):
            until((world.relay / "asked").exists)
            world.apply()
            until(lambda: world.missing() == [])
    assert world.said.count("no answer from the guest agent") == 2  # that it failed, and that this is over
    assert world.said.count("failed: ") == 1


@pytest.mark.parametrize("kept", [b"garbage\xff", signed(json.dumps(order()), STRANGER), request(node="node-b")])
def test_an_order_that_was_kept_and_is_not_the_operator_s_is_none(world: World, kept: bytes) -> None:
    (world.state / "order.json").write_bytes(kept)
    with running(world.socket, guest()), world.keeper():
        assert world.ask("GET", "/state").json == {"serial": 0, "missing": []}
        assert world.put().status == HTTPStatus.OK
    assert "the order that was kept is " in world.said


# --- secrets


def test_the_private_key_is_in_the_config_and_nowhere_else(keeper: World) -> None:
    for epoch in (1, 2):
        keeper.put(epoch, epoch=epoch)
        assert keeper.evidence(epoch).status == HTTPStatus.OK
    keeper.ask("PUT", "/order", b"garbage")
    secret = keeper.private_key()
    assert keeper.process
    process = Path("/proc") / str(keeper.process.pid)
    for form in (secret.raw, secret.raw.hex(), secret.base64()):
        assert keeper.holds_secret(form) == []
    for name in ("environ", "cmdline"):
        assert secret.base64().encode() not in (process / name).read_bytes()
    assert stat.S_IMODE((keeper.state / "order.json").stat().st_mode) == 0o600


# --- strangers


def test_many_who_say_nothing_block_nobody(keeper: World) -> None:
    with ExitStack() as strangers:
        for start in [
            b"",
            b"GET /state HTTP/1.1\r\n",
            b"PUT /order HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        ] * (MOST // 2):
            slow = strangers.enter_context(closing(socket.create_connection((HOST, keeper.port))))
            slow.sendall(start)
        assert keeper.put().status == HTTPStatus.OK
        assert keeper.evidence().status == HTTPStatus.OK
        assert keeper.process
        sockets = Path("/proc") / str(keeper.process.pid) / "fd"
        until(lambda: len(list(sockets.iterdir())) < MOST + 20)


def test_garbage_is_not_worth_a_line(keeper: World) -> None:
    for garbage in (b"\x16\x03\x01\n\n\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nx" + b"x" * 99_999):
        with closing(socket.create_connection((HOST, keeper.port), SECONDS)) as stranger:
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            try:
                stranger.recv(1 << 16)
            except ConnectionResetError:
                continue
    assert keeper.ask("GET", "/state").status == HTTPStatus.OK
    assert len(keeper.said.splitlines()) == 1


def test_a_request_has_to_come_soon(world: World) -> None:
    """In this process, where patience is a matter of the test."""

    async def closed(start: bytes) -> bool:
        node, agent = Node(network="vpn", node="node-a"), Agent(world.socket)
        api = Api(node, agent, Keeper(node, SIGNER, agent, world.config, world.state))
        async with listening(api, (IPv4Address(HOST), 0), patience=0.1) as address, asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(start)
            try:
                return await reader.read() == b""
            except ConnectionResetError:
                return True
            finally:
                writer.close()

    assert asyncio.run(closed(b""))
    assert asyncio.run(closed(b"PUT /order HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"))


def test_it_ends_at_once_also_while_somebody_waits(world: World) -> None:
    agent = Slow()
    question = f"GET /evidence?epoch=1&nonce={NONCE.hex()} HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(world.socket, agent):
        with world.keeper(), closing(socket.create_connection((HOST, world.port))) as asking:
            asking.sendall(question.encode())
            until(lambda: agent.at_work)
            started = time.monotonic()
            assert world.process
            world.process.terminate()
            assert world.process.wait(SECONDS) == 0
            assert time.monotonic() - started < 2
        agent.go_on.set()
    assert len(world.said.splitlines()) == 1


def test_a_port_that_is_taken_ends_it(world: World) -> None:
    with closing(socket.create_server((HOST, 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError), world.keeper(listen=f"{HOST}:{port}"):
            pass
    assert "failed: " in world.said
