"""The node against the simulator's socket: key and evidence, and an agent that is silent or makes no sense."""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dstack_node.__main__ import main
from dstack_node.agent import MOST_BYTES, Agent, AgentError
from dstack_node.keys import public_key
from dstack_node.node import Node, attest, key
from dstack_simulator.guest import Guest
from hypothesis import given

from tests.dstack.claims import NONCE, POLICY, expected
from tests.dstack.keepers import SIGNER
from tests.model.strategies import raw_keys
from tests.simulator.guests import APP_ID, AUTHORITY, COMPOSE, guest, running
from vpn.attestation import admit
from vpn.model import keys
from vpn.model.attestation import Evidence

NODE = Node(network="vpn", node="node-a")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with running(tmp_path / "dstack.sock", guest()) as path:
        yield Agent(path)


def key_of(agent: Agent, node: Node = NODE, epoch: int = 1) -> str:
    return asyncio.run(key(node, epoch, agent))


# --- key and evidence


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_verifier_lets_the_node_in_with_the_key_that_it_has(agent: Agent, epoch: int) -> None:
    line = asyncio.run(attest(NODE, epoch, NONCE, agent))
    admitted = admit(Evidence.parse(line.encode()), POLICY, expected(epoch=epoch), int(time.time()))
    assert admitted.base64() == public_key(key_of(agent, epoch=epoch))


def test_the_evidence_holds_no_secret(agent: Agent) -> None:
    line = asyncio.run(attest(NODE, 1, NONCE, agent))
    secret = keys.PrivateKey.parse(key_of(agent))
    assert secret.base64() not in line
    assert secret.raw.hex() not in line


def test_the_key_stays_and_every_part_of_its_name_counts(agent: Agent, tmp_path: Path) -> None:
    first = key_of(agent)
    assert key_of(agent) == first
    others = [key_of(agent, replace(NODE, network="lan")), key_of(agent, replace(NODE, node="node-b"))]
    others.append(key_of(agent, epoch=2))
    for number, other in enumerate([guest(instance="2"), guest(app_id=bytes(20))]):
        with running(tmp_path / f"{number}.sock", other) as path:
            others.append(key_of(Agent(path)))
    assert len({first, *others}) == 6


@given(raw_keys)
def test_node_and_model_agree_on_the_public_key(raw: bytes) -> None:
    private = keys.PrivateKey(keys.clamp(raw))
    assert public_key(private.base64()) == private.public().base64()


# --- the program


@pytest.mark.parametrize(
    "wrong",
    [
        {"node": "a/b"},
        {"network": ""},
        {"node": "-a"},
        {"signer": "00"},
        {"signer": "A" * 64},
        {"listen": "51821"},
        {"listen": "::1:51821"},
    ],
)
def test_a_wrong_option_is_refused(
    wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"network": "vpn", "node": "node-a", "signer": SIGNER.hex()} | wrong
    monkeypatch.setattr(
        sys, "argv", ["dstack_node", "serve", *(f"--{name}={value}" for name, value in options.items())]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert f"argument --{next(iter(wrong))}: use " in capsys.readouterr().err


# --- the agent


def test_an_agent_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"none\.sock: Info: no answer from the guest agent: .*No such file"):
        asyncio.run(Agent(tmp_path / "none.sock").instance_id())


def test_an_agent_that_is_silent_is_not_awaited_for_ever(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        with pytest.raises(AgentError, match="Info: no answer from the guest agent: "):
            asyncio.run(Agent(tmp_path / "silent.sock", patience=0.1).instance_id())


class Liar(Guest):
    """An agent whose answers are what the test wants."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(AUTHORITY, COMPOSE.text().encode(), APP_ID, "1")
        self._answers = answers

    def methods(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {name: partial(self._answer, name) for name in self._answers}

    def _answer(self, name: str, _: Mapping[str, Any]) -> Any:
        return self._answers[name]


async def answer(ask: Callable[[Agent], Awaitable[object]], agent: Agent) -> object:
    return await ask(agent)


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
    tmp_path: Path, answers: dict[str, Any], ask: Callable[[Agent], Awaitable[object]], reason: str
) -> None:
    with (
        running(tmp_path / "dstack.sock", Liar(answers)) as path,
        pytest.raises(AgentError, match=reason) as caught,
    ):
        asyncio.run(answer(ask, Agent(path)))
    assert "hunter2" not in str(caught.value)
    assert "beef" not in str(caught.value)
