"""The access-pass contract on a chain, read and written over JSON-RPC."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from eth_typing import ChecksumAddress
from requests.exceptions import RequestException
from rich.console import Console
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import BadFunctionCallOutput, ContractLogicError, TimeExhausted, Web3Exception
from web3.types import TxReceipt

from vpn.cli.failure import CliError

ARTIFACT = Path(__file__).resolve().parents[2] / "contracts" / "access_pass.json"
CALL_SECONDS = 20
RECEIPT_SECONDS = 300  # a block of a public chain takes 12, a transaction that pays little waits for many
REVERTED = "execution reverted"


class Pass(NamedTuple):
    """What the contract tells of a token."""

    token: int
    owner: str
    key: bytes
    """32 bytes, all zero when none is bound."""
    suspended: bool


class Chain:
    """An endpoint, and the contract there. What goes wrong is raised as CliError."""

    def __init__(self, url: str, contract: str = "") -> None:
        self.place = place(url)
        self.web3 = Web3(HTTPProvider(url, request_kwargs={"timeout": CALL_SECONDS}))
        self._address = contract

    @cached_property
    def _artifact(self) -> dict[str, Any]:
        return dict(json.loads(ARTIFACT.read_text()))

    @cached_property
    def contract(self) -> Contract:
        """The contract, which is there."""
        address = Web3.to_checksum_address(self._address)
        with self._explained():
            if not self.web3.eth.get_code(address):
                raise CliError(f"there is no contract at {address} on {self.place}", fix="check --rpc and --contract")
        return self.web3.eth.contract(address, abi=self._artifact["abi"])

    # --- reading

    def passes(self) -> dict[int, Pass]:
        """Every pass there is, by token."""
        with self._explained():
            found = (Pass(*entry) for entry in self.contract.functions.passes().call())
            return {one.token: one for one in sorted(found)}

    def capacity(self) -> int:
        """The highest token ID."""
        with self._explained():
            return int(self.contract.functions.CAPACITY().call())

    def owner_of(self, token: int) -> str:
        """Who holds a pass; raises CliError when it was not minted."""
        with self._explained():
            return str(self.contract.functions.ownerOf(token).call())

    def accounts(self) -> list[ChecksumAddress]:
        """The accounts for which the endpoint itself signs; a real one has none."""
        with self._explained():
            return list(self.web3.eth.accounts)

    # --- writing

    def send(self, sender: str, function: str, *arguments: Any) -> TxReceipt:
        """Send a transaction to a function of the contract, by signature or by name, and wait for its block."""
        find = self.contract.get_function_by_signature if "(" in function else self.contract.get_function_by_name
        with self._explained():
            sent = find(function)(*arguments).transact({"from": Web3.to_checksum_address(sender)})
            return self._receipt(sent)

    def deploy(self, sender: str, capacity: int) -> str:
        """Make a contract for so many passes; return its address."""
        factory = self.web3.eth.contract(abi=self._artifact["abi"], bytecode=self._artifact["bytecode"])
        with self._explained():
            sent = factory.constructor(capacity).transact({"from": Web3.to_checksum_address(sender)})
            return str(self._receipt(sent)["contractAddress"])

    def _receipt(self, transaction: Any) -> TxReceipt:
        with Console(stderr=True).status(f"waiting for the block with 0x{bytes(transaction).hex()}"):
            receipt = self.web3.eth.wait_for_transaction_receipt(transaction, timeout=RECEIPT_SECONDS)
        if receipt["status"] != 1:
            raise CliError(f"the transaction 0x{bytes(transaction).hex()} was reverted", fix="look, and try again")
        return receipt

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the library raises into a CliError that does not show the endpoint's URL, which may hold a key."""
        try:
            yield
        except ContractLogicError as error:
            reason = str(error.message or "no reason given").removeprefix(REVERTED).lstrip(": ")
            raise CliError(f"the contract refused: {reason}") from None
        except BadFunctionCallOutput:
            raise CliError(f"what is at {self._address} on {self.place} is no access-pass contract") from None
        except TimeExhausted as error:
            raise CliError(str(error), fix="it may come yet: `vpn pass list` tells; then do it again") from None
        except RequestException as error:
            fix = "check --rpc, and that the chain runs"
            raise CliError(f"{self.place} does not answer ({type(error).__name__})", fix=fix) from None
        except Web3Exception as error:
            raise CliError(f"{self.place}: {rpc_message(error)}") from None
        except ValueError:
            raise CliError(f"what {self.place} answers is no JSON-RPC", fix="check --rpc") from None


def rpc_message(error: Web3Exception) -> str:
    """What the endpoint said, without the request."""
    response = getattr(error, "rpc_response", None) or {}
    return str((response.get("error") or {}).get("message") or error)


def place(url: str) -> str:
    """An endpoint without what may be secret in its URL. Raises CliError when it is no URL."""
    with suppress(ValueError):  # whose text has a part of the URL
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    raise CliError("--rpc is no http or https URL", fix="write it like https://host/path")
