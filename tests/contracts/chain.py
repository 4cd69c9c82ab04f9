"""What tests do on a chain, in the words of the contract."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from docker.models.containers import Container
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError
from web3.logs import DISCARD

import docker
from contracts.build import ARTIFACT
from contracts.chain import ADDRESS
from tests.integration.hosts import eventually

PORT = "8545/tcp"
NOTHING = b"\0" * 32
CAPACITY = 20
"""Passes of the contract that most tests use."""


class Pass(NamedTuple):
    """What the contract tells of a token."""

    token_id: int
    owner: str
    key: bytes
    suspended: bool


class Chain:
    """The contract on a chain, and accounts that can be anybody."""

    def __init__(self, container: Container, address: str = "127.0.0.1") -> None:
        self.container = container
        self._address = address
        self._connect(times=1)

    def _connect(self, times: int) -> None:
        """Wait until the contract is announced for the so-many-th time; the port may be another one every time."""
        announced = f"access_pass is at {ADDRESS}\n"
        eventually(lambda: self.container.logs().decode().count(announced) == times, 30, "the contract is there")
        self.container.reload()
        port = self.container.ports[PORT][0]["HostPort"]
        self.url = f"http://{self._address}:{port}"
        self.web3 = Web3(HTTPProvider(self.url))
        abi = json.loads(ARTIFACT.read_text())["abi"]
        self.contract = self.web3.eth.contract(Web3.to_checksum_address(ADDRESS), abi=abi)

    def saved(self, block: int) -> bool:
        """Whether a block is in the state that the container has written."""
        status, text = self.container.exec_run(["cat", "/data/state.json"])
        return status == 0 and int(json.loads(text)["best_block_number"]) == block

    def restart(self) -> None:
        """Restart the container."""
        self.container.restart(timeout=5)
        self._connect(times=2)

    @property
    def admin(self) -> str:
        """The account that deployed the contract."""
        return str(self.web3.eth.accounts[0])

    @property
    def people(self) -> list[str]:
        """Everybody else."""
        everybody: Sequence[object] = self.web3.eth.accounts
        return [str(account) for account in everybody[1:]]

    def do(self, sender: str, function: str, *arguments: Any) -> list[tuple[str, dict[str, Any]]]:
        """A transaction, and the contract's events in it, by name. Raises ContractLogicError when it is refused."""
        call = (
            self.contract.get_function_by_signature(function) if "(" in function else self.contract.functions[function]
        )
        receipt = self.web3.eth.wait_for_transaction_receipt(call(*arguments).transact({"from": sender}))
        assert receipt["status"] == 1
        events = [self.contract.events[entry["name"]] for entry in self.contract.abi if entry["type"] == "event"]
        found = [event().process_receipt(receipt, errors=DISCARD) for event in events]
        return [(entry["event"], dict(entry["args"])) for entries in found for entry in entries]

    def refused(self, sender: str, function: str, *arguments: Any) -> str:
        """Why a transaction is refused; fails when it is not."""
        before = self.passes()
        try:
            self.do(sender, function, *arguments)
        except ContractLogicError as error:
            assert self.passes() == before
            return str(error.message)
        raise AssertionError(f"{function}{arguments} was not refused")

    def passes(self) -> dict[int, Pass]:
        """The whole set, by token."""
        found = [Pass(*entry) for entry in self.contract.functions.passes().call()]
        assert len({one.token_id for one in found}) == len(found)
        return {one.token_id: one for one in found}

    @contextmanager
    def one_block(self) -> Iterator[None]:
        """Put all that is sent meanwhile into one block."""
        self.ask("evm_setAutomine", False)  # noqa: FBT003 (JSON-RPC has no names)
        try:
            yield
            self.ask("evm_mine")
        finally:
            self.ask("evm_setAutomine", True)  # noqa: FBT003

    def ask(self, method: str, *parameters: Any) -> Any:
        """Result of a JSON-RPC call, also of those that only this chain has."""
        return self.web3.provider.make_request(method, list(parameters))["result"]  # type: ignore[arg-type]

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Take back what is done meanwhile."""
        mark = self.ask("evm_snapshot")
        try:
            yield
        finally:
            self.ask("evm_revert", mark)


@contextmanager
def running_chain(image: str, capacity: int, volume: str | None = None, address: str = "127.0.0.1") -> Iterator[Chain]:
    """Run the image until the contract is there, at an address of this machine; gone afterwards."""
    with closing(docker.from_env()) as client:
        container = client.containers.run(
            image,
            ["chain", str(capacity)],
            detach=True,
            read_only=True,
            cap_drop=["ALL"],
            ports={PORT: (address, None)},
            volumes={volume: {"bind": "/data", "mode": "rw"}} if volume else None,
            tmpfs=None if volume else {"/data": ""},
        )
        try:
            yield Chain(container, address)
        except BaseException:
            print(container.logs().decode())
            raise
        finally:
            container.remove(force=True)
