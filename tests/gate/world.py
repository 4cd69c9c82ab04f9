"""A gate with a chain in memory, and folders of its own."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from access_gate.board import Board
from access_gate.gate import Gate
from access_gate.members import base64
from access_gate.rpc import Block, Chain, ChainError, Pass
from access_gate.settings import CHECKSUMS, FILE

from tests.model.example import ACCESS, KEYS, MESH
from vpn.model import gate

ALICE, BOB = "0x" + "a1" * 20, "0x" + "b2" * 20


def key(number: int) -> bytes:
    """A key that is good enough."""
    return number.to_bytes(2, "big") + b"\7" * 30


def held(token: int, number: int = 0, owner: str = ALICE, *, suspended: bool = False) -> Pass:
    """A pass with the key of a number; of the token's if none is given."""
    return Pass(token, owner, key(number or token), suspended)


class MemoryChain:
    """What answers in place of an endpoint."""

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.blocks: list[tuple[Block, list[Pass]]] = []
        self.tags: dict[str, int] = {}
        """Number of the safe and of the finalized block."""
        self.broken = ""
        """Why it does not answer."""
        self.deployed_at = 0
        self.lies: dict[str, int] = {}
        """The number that it says the block of a tag has."""
        self.mine()

    def mine(self, *passes: Pass, branch: str = "", age: float = 0) -> Block:
        """One more block, after which these are all passes there are."""
        number = len(self.blocks)
        digest = sha256(f"{self.name}/{branch}/{number}".encode()).hexdigest()
        self.blocks.append((Block(number, f"0x{digest}", int(time.time() - age)), list(passes)))
        return self.blocks[-1][0]

    def rewind(self, number: int) -> None:
        """Forget all blocks after one."""
        del self.blocks[number + 1 :]

    # --- as access_gate.rpc.Chain

    def block(self, which: str) -> Block:
        self._answer()
        number = len(self.blocks) - 1 if which == "latest" else self.tags.get(which, -1)
        number = int(which, 16) if which.startswith("0x") else number
        if not 0 <= number < len(self.blocks):
            raise ChainError(f"there is no block {which}")
        block = self.blocks[number][0]
        return replace(block, number=self.lies[which], hash="0x1") if which in self.lies else block

    def passes(self, contract: str, block: Block) -> list[Pass] | None:
        self._answer()
        assert contract == ACCESS.contract
        found = [passes for one, passes in self.blocks if one.hash == block.hash]
        if not found:
            raise ChainError("eth_call: block not found")
        return found[0] if block.number >= self.deployed_at else None

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self) -> None:
        if self.broken:
            raise ChainError(self.broken)


@dataclass
class World:
    """The gate and all that is around it."""

    folder: Path
    chain: MemoryChain = field(default_factory=MemoryChain)
    lines: list[dict[str, Any]] = field(default_factory=list)
    """What the gate said."""

    def __post_init__(self) -> None:
        self.config, self.volume = self.folder / "config", self.folder / "members"
        self.config.mkdir()
        self.volume.mkdir()
        self.deliver()
        self.restart()

    def deliver(self, **changes: Any) -> None:
        """Bring settings, those of the dev stack but for the changes."""
        text = json.dumps(json.loads(gate.render(MESH, KEYS, ACCESS)) | changes)
        (self.config / FILE).write_text(text)
        (self.config / CHECKSUMS).write_text(f"{sha256(text.encode()).hexdigest()}  {FILE}\n")

    def restart(self) -> None:
        """Begin another life of the gate."""
        self.gate = Gate(
            Board(self.config, self.volume),
            lambda line: self.lines.append(json.loads(line)),
            lambda _: cast("Chain", self.chain),
        )

    def turn(self) -> str:
        """Look once; what is wrong."""
        return self.gate.turn()

    def after(self, *passes: Pass, **more: Any) -> "World":
        """Mine a block and look."""
        self.chain.mine(*passes, **more)
        self.turn()
        return self

    @property
    def lease(self) -> list[str]:
        """First line of the members' file: boot ID, uptime until which it holds, generation."""
        return (self.volume / "members").read_text().splitlines()[0].split()

    @property
    def members(self) -> list[list[str]]:
        """The members' lines."""
        return [line.split() for line in (self.volume / "members").read_text().splitlines()[1:]]

    @property
    def tokens(self) -> list[int]:
        """Who is in."""
        return [int(line[0]) for line in self.members]

    def said(self, *events: str) -> list[tuple[int, str]]:
        """Token and reason of every admission, revocation or refusal."""
        return [(one["token"], one["reason"]) for one in self.lines if one["event"] in events]


def as_keys(passes: Iterable[Pass]) -> list[str]:
    """The keys of passes as wg(8) writes them."""
    return [base64(one.key) for one in passes]
