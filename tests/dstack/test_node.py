"""The sidecar against the simulator's socket: key, evidence, files, and what it does without an agent."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from dstack_node import agent as agent_module
from dstack_node.__main__ import main
from dstack_node.agent import MOST_BYTES, Agent, AgentError
from dstack_node.keys import KeyToolError, wg_pubkey
from dstack_node.node import Node, attest
from dstack_simulator.guest import Guest
from dstack_simulator.server import Server

from tests.dstack.claims import EXPECTED, NONCE, POLICY
from tests.model.stack_files import PROJECT
from tests.simulator.guests import APP_ID, AUTHORITY, COMPOSE, guest, running
from vpn.attestation import admit
from vpn.model.attestation import Evidence
from vpn.model.keys import PrivateKey

NODE = Node(network="vpn", node="node-a", epoch=1, nonce=NONCE)
PACKAGE = PROJECT / "docker" / "dstack-node"


def nacl_pubkey(private: str) -> str:
    return PrivateKey.parse(private).public().base64()


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    with running(tmp_path / "dstack.sock", guest()) as path:
        yield path


@pytest.fixture
def wg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wg(8) that knows `pubkey`, first in the path."""
    program = tmp_path / "bin" / "wg"
    program.parent.mkdir()
    line = "print(PrivateKey.parse(sys.stdin.readline().strip()).public().base64())"
    code = f"import sys\nsys.path[0] = {str(PROJECT)!r}\nfrom vpn.model.keys import PrivateKey\n{line}\n"
    program.write_text(f"#!{sys.executable}\n{code}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return program


def private_key(folder: Path) -> PrivateKey:
    return PrivateKey.parse((folder / "private-key").read_text().strip())


def attested(socket: Path, folder: Path, node: Node = NODE) -> str:
    folder.mkdir(exist_ok=True)
    return attest(node, Agent(socket, 0), folder, nacl_pubkey)


# --- what it leaves


def test_the_verifier_lets_the_node_in_with_the_key_that_it_has(socket: Path, tmp_path: Path) -> None:
    line = attested(socket, tmp_path)
    handed_over = Evidence.parse((tmp_path / "evidence.json").read_bytes())
    assert handed_over == Evidence.parse(line.encode())
    assert admit(handed_over, POLICY, EXPECTED, int(time.time())) == private_key(tmp_path).public()


def test_the_key_is_for_its_owner_only_also_over_an_open_one(socket: Path, tmp_path: Path) -> None:
    for name in ("private-key", ".private-key.new"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o666)
    attested(socket, tmp_path)
    assert (tmp_path / "private-key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dstack.sock", "evidence.json", "private-key"]


def test_the_evidence_holds_no_secret(socket: Path, tmp_path: Path) -> None:
    line = attested(socket, tmp_path)
    secret = private_key(tmp_path)
    assert secret.base64() not in line
    assert secret.raw.hex() not in line


def test_the_key_stays_and_every_part_of_its_name_counts(socket: Path, tmp_path: Path) -> None:
    attested(socket, tmp_path)
    first = private_key(tmp_path)
    attested(socket, tmp_path)
    assert private_key(tmp_path) == first
    others: list[dict[str, Any]] = [{"network": "lan"}, {"node": "node-b"}, {"epoch": 2}]
    for number, other in enumerate(others):
        attested(socket, tmp_path / str(number), replace(NODE, **other))
    with running(tmp_path / "second.sock", guest(instance="2")) as second:
        attested(second, tmp_path / "3")
    with running(tmp_path / "other.sock", guest(app_id=bytes(20))) as second:
        attested(second, tmp_path / "4")
    assert len({first.raw, *(private_key(tmp_path / str(number)).raw for number in range(5))}) == 6


# --- the program


def arguments(socket: Path, folder: Path, **more: object) -> list[str]:
    options = {
        "network": "vpn",
        "node": "node-a",
        "epoch": 1,
        "nonce": NONCE.hex(),
        "folder": folder,
        "socket": socket,
        "patience": 0,
    }
    return [f"--{name}={value}" for name, value in (options | more).items()]


def run(socket: Path, folder: Path, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dstack_node", *arguments(socket, folder, **more)]
    return subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.usefixtures("wg")
def test_the_program_prints_the_evidence_and_no_key(socket: Path, tmp_path: Path) -> None:
    done = run(socket, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "evidence.json").read_text()
    evidence = Evidence.parse(done.stdout.encode())
    assert evidence.binding.public_key == private_key(tmp_path).public()
    assert private_key(tmp_path).base64() not in done.stdout


def test_without_an_agent_the_program_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(tmp_path / "none.sock", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no answer from the guest agent" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"node": "a/b"}, {"network": ""}, {"node": "-a"}, {"epoch": -1}, {"epoch": "\u0661"}, {"nonce": "00"}],
)
def test_a_wrong_option_is_refused(
    wrong: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dstack_node", *arguments(tmp_path / "none.sock", tmp_path, **wrong)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert f"argument --{next(iter(wrong))}: use " in capsys.readouterr().err


# --- the public key


@pytest.mark.usefixtures("wg")
def test_the_public_key_comes_from_wg() -> None:
    private = PrivateKey(bytes([8]) * 32)
    assert wg_pubkey(private.base64()) == private.public().base64()


def test_a_wg_that_fails_or_is_missing_tells_no_key(wg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyToolError, match="wg pubkey ended with 1") as caught:
        wg_pubkey("no-key-but-secret")
    assert "secret" not in str(caught.value)
    wg.unlink()
    monkeypatch.setenv("PATH", str(wg.parent))
    with pytest.raises(KeyToolError, match="FileNotFoundError"):
        wg_pubkey("no-key-but-secret")


# --- the agent


def test_it_waits_for_an_agent_that_comes_up_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "PAUSE", 0.01)
    path = tmp_path / "dstack.sock"
    servers: list[Server] = []

    def come_up() -> None:
        servers.append(Server(path, guest()))
        servers[0].handle_request()

    timer = Timer(0.2, come_up)
    timer.start()
    try:
        assert len(Agent(path, 10).key("x")) == 32
    finally:
        timer.join()
        servers[0].server_close()


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "PAUSE", 0.01)
    started = time.monotonic()
    with pytest.raises(AgentError, match=r"none\.sock: Info: no answer from the guest agent: .*No such file"):
        Agent(tmp_path / "none.sock", 0.1).instance_id()
    assert time.monotonic() - started < 5


class Liar(Guest):
    """An agent whose answers are what the test wants."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(AUTHORITY, COMPOSE.text().encode(), APP_ID, "1")
        self._answers = answers

    def methods(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {name: partial(self._answer, name) for name in self._answers}

    def _answer(self, name: str, _: Mapping[str, Any]) -> Any:
        return self._answers[name]


@pytest.mark.parametrize(
    ("answers", "ask", "reason"),
    [
        ({"Info": {}}, Agent.instance_id, "no instance_id in hexadecimal"),
        ({"Info": []}, Agent.instance_id, "Info: the answer is no JSON object"),
        ({"Info": "x" * MOST_BYTES}, Agent.instance_id, "Info: the answer is longer than"),
        ({}, Agent.instance_id, "Info: the guest agent refuses with HTTP status 404: Service not found: Info"),
        ({"GetKey": {"key": "hunter2"}}, lambda agent: agent.key("x"), "gave no key in hexadecimal"),
        ({"GetKey": {"key": "beef"}}, lambda agent: agent.key("x"), "a key of 2 bytes, not 32"),
        ({"GetQuote": {"quote": "00"}}, lambda agent: agent.quote(bytes(64)), "gave no event log"),
        ({"GetQuote": {"event_log": "", "quote": 7}}, lambda agent: agent.quote(bytes(64)), "gave no quote"),
    ],
)
def test_an_agent_that_makes_no_sense_is_refused_without_a_word_of_what_it_said(
    tmp_path: Path, answers: dict[str, Any], ask: Callable[[Agent], object], reason: str
) -> None:
    with (
        running(tmp_path / "dstack.sock", Liar(answers)) as path,
        pytest.raises(AgentError, match=reason) as caught,
    ):
        ask(Agent(path, 0))
    assert "hunter2" not in str(caught.value)
    assert "beef" not in str(caught.value)
