"""Whatever happens to passes, in whatever order: a key stands under the one who bound it, and under one pass only."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import requests
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from web3.exceptions import ContractLogicError

import docker
from tests.contracts.chain import CAPACITY, NOTHING, Chain, Pass, running_chain
from tests.integration.hosts import eventually

TOKENS = st.integers(0, 4)  # few of each, so that they meet
PEOPLE = st.integers(0, 3)  # 0 is the admin
KEYS = st.integers(0, 2).map(lambda number: bytes([number]) * 32)


def accounts(chain: Chain) -> list[str]:
    return [chain.admin, *chain.people]


def machine(chain: Chain) -> type[RuleBasedStateMachine]:  # noqa: C901 (a class of short rules)
    """Anybody does anything to the contract, and to a model of it that knows the rules and nothing else."""

    class Passes(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.undone = chain.undone()
            self.undone.__enter__()
            self.model: dict[int, Pass] = {}
            self.suspended: set[int] = set()

        def teardown(self) -> None:
            self.undone.__exit__(None, None, None)

        def attempt(self, allowed: bool, who: int, function: str, *arguments: object) -> bool:  # noqa: FBT001
            """Do it on the chain; whether that works is as the model says."""
            try:
                chain.do(accounts(chain)[who], function, *arguments)
            except ContractLogicError:
                assert not allowed, (who, function, arguments)
                return False
            assert allowed, (who, function, arguments)
            return True

        def holds(self, who: int, token: int) -> bool:
            return token in self.model and self.model[token].owner == accounts(chain)[who]

        @rule(who=PEOPLE, to=PEOPLE, token=TOKENS)
        def mint(self, who: int, to: int, token: int) -> None:
            owner = accounts(chain)[to]
            if self.attempt(who == 0 and token > 0 and token not in self.model, who, "mint", owner, token):
                self.model[token] = Pass(token, owner, NOTHING, token in self.suspended)

        @rule(who=PEOPLE, token=TOKENS, key=KEYS)
        def bind(self, who: int, token: int, key: bytes) -> None:
            free = key != NOTHING and key not in [one.key for one in self.model.values()]
            if self.attempt(self.holds(who, token) and free, who, "bind_key", token, key):
                self.model[token] = self.model[token]._replace(key=key)

        @rule(who=PEOPLE, token=TOKENS)
        def clear(self, who: int, token: int) -> None:
            if self.attempt(self.holds(who, token), who, "clear_key", token):
                self.model[token] = self.model[token]._replace(key=NOTHING)

        @rule(who=PEOPLE, to=PEOPLE, token=TOKENS)
        def transfer(self, who: int, to: int, token: int) -> None:
            source, target = accounts(chain)[who], accounts(chain)[to]
            if self.attempt(self.holds(who, token), who, "transferFrom", source, target, token):
                self.model[token] = self.model[token]._replace(owner=target, key=NOTHING)

        @rule(who=PEOPLE, token=TOKENS)
        def burn(self, who: int, token: int) -> None:
            if self.attempt(self.holds(who, token), who, "burn", token):
                del self.model[token]

        @rule(who=PEOPLE, token=TOKENS)
        def suspend(self, who: int, token: int) -> None:
            if self.attempt(who == 0 and token in self.model, who, "suspend", token):
                self.suspended.add(token)
                self.model[token] = self.model[token]._replace(suspended=True)

        @rule(who=PEOPLE, token=TOKENS)
        def lift(self, who: int, token: int) -> None:
            if self.attempt(who == 0, who, "lift", token):
                self.suspended.discard(token)
                if token in self.model:
                    self.model[token] = self.model[token]._replace(suspended=False)

        @invariant()
        def the_chain_is_as_the_model(self) -> None:
            found = chain.passes()
            assert found == self.model
            keys = [one.key for one in found.values() if one.key != NOTHING]
            assert len(set(keys)) == len(keys)
            for key in (b"\1" * 32, b"\2" * 32):
                owner = next((token for token, one in found.items() if one.key == key), 0)
                assert chain.contract.functions.pass_of(key).call() == owner

    return Passes


def test_a_web_page_in_a_browser_on_the_host_reaches_no_account(deployed: Chain) -> None:
    """It may send only what needs no leave of the server (Fetch standard, CORS), and gets no leave for more."""
    call = '{"jsonrpc": "2.0", "id": 1, "method": "eth_accounts", "params": []}'
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    headers = [*({"Content-Type": kind} for kind in kinds), {"Content-Type": "application/json", "Origin": "null"}, {}]
    told = [requests.post(deployed.url, call, headers=one, timeout=10).status_code for one in headers]
    assert told == [403] * 5
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    leave = requests.options(deployed.url, headers=asked, timeout=10)
    assert (leave.status_code, "Access-Control-Allow-Origin" in leave.headers) == (501, False)


def test_the_guard_reads_no_question_without_bounds(deployed: Chain) -> None:
    for length in ("1048577", "-1", "x"):
        headers = {"Content-Type": "application/json", "Content-Length": length}
        request = requests.Request("POST", deployed.url, headers=headers).prepare()
        request.headers["Content-Length"] = length
        with requests.Session() as session:
            assert session.send(request, timeout=10).status_code == 413


def test_the_contract_is_as_its_model(deployed: Chain) -> None:
    run_state_machine_as_test(
        machine(deployed), settings=settings(max_examples=15, stateful_step_count=30, deadline=None)
    )


@pytest.fixture
def volume() -> Iterator[str]:
    with closing(docker.from_env()) as client:
        created = client.volumes.create("it-chain-state")
        yield created.name
        created.remove(force=True)


def test_a_chain_keeps_its_passes_when_it_is_restarted_killed_or_made_anew(chain_image: str, volume: str) -> None:
    with running_chain(chain_image, CAPACITY, volume) as chain:
        alice, block = chain.people[0], chain.web3.eth.block_number
        chain.do(chain.admin, "mint", alice, 7)
        chain.restart()
        assert (list(chain.passes()), chain.web3.eth.block_number) == ([7], block + 1)
        chain.do(alice, "bind_key", 7, b"\1" * 32)
        eventually(lambda: chain.saved(block + 2), 10, "the last block is saved")
    with running_chain(chain_image, CAPACITY, volume) as chain:
        assert (chain.passes()[7].key, chain.web3.eth.block_number) == (b"\1" * 32, block + 2)
        chain.do(alice, "clear_key", 7)
