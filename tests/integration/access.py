"""What tests of access do: passes on the embedded chain, the user's command line, devices outside the mesh."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bootstrap.device import Device
from tests.contracts.chain import Chain
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import CHECKOUT, Stack
from vpn.model.keys import KEY_BYTES, PrivateKey, clamp

NAME = "ita"
NODES = ("a", "b")
CONFIG: dict[str, Any] = {
    "name": NAME,
    "vpnRange": "10.73.0.0/24",
    "underlayRange": "172.31.0.0/16",
    "siteRange": "10.74.0.0/16",
    "hostPort": 0,
    "nodes": [{"name": name} for name in NODES],
    "workloads": [
        {"name": "ita-server", "node": "a", "build": "docker/nginx"},
        {"name": "ita-client", "node": "b", "build": "docker/test-client"},
    ],
    "services": [
        {"name": f"ita-web-{node}", "at": at, "ports": 80} for node, at in (("a", "ita-server"), ("b", "ita-client"))
    ],
    "access": {"enabled": True, "memberRange": "10.75.0.0/20", "gateRange": "10.76.0.0/28", "chainPort": 58545},
}
PAGE = "http://10.74.1.3"


def new_key() -> PrivateKey:
    """A key pair of a user's own."""
    return PrivateKey(clamp(os.urandom(KEY_BYTES)))


@dataclass
class Gated:
    """A mesh with access, its embedded chain, and people who hold passes."""

    stack: Stack
    hosts: Hosts
    chain: Chain
    nodes: tuple[str, ...] = NODES

    # --- on the chain

    def admit(self, token: int, key: PrivateKey | None = None, holder: int = 0) -> PrivateKey:
        """Mint a pass for one of the people, bind a key, and wait until every node has it as a peer."""
        key = key or new_key()
        person = self.chain.people[holder]
        self.chain.do(self.chain.admin, "mint", person, token)
        self.chain.do(person, "bind_key", token, key.public().raw)
        eventually(lambda: self.is_in(key), 10, "every node admits")
        return key

    def send_all(self, calls: Iterable[tuple[Any, ...]]) -> None:
        """Send transactions (sender, function, arguments), a hundred in a block; waits for no receipt."""
        for batch in batched(calls, 100):
            with self.chain.one_block():
                for sender, function, *arguments in batch:
                    call = self.chain.contract.functions[function](*arguments)
                    call.transact({"from": sender, "gas": 250_000})

    def clear(self) -> None:
        """Lift what was suspended and burn every pass, so that the next test finds none."""
        found = self.chain.passes().values()
        self.send_all((self.chain.admin, "lift", one.token_id) for one in found if one.suspended)
        self.send_all((one.owner, "burn", one.token_id) for one in found)
        eventually(lambda: not any(self.members_of(node) for node in NODES), 20, "nobody is in")

    # --- at the nodes

    def members_of(self, node: str) -> list[str]:
        """The addresses of a node's members."""
        allowed = self.hosts.out(f"{NAME}-{node}", "wg", "show", "wg0", "allowed-ips").split()
        return [address for address in allowed if address.startswith("10.75.")]

    def nodes_with(self, key: PrivateKey) -> int:
        """How many nodes have a key as a peer."""
        text = key.public().base64()
        return sum(text in self.hosts.peers(f"{NAME}-{node}") for node in self.nodes)

    def is_in(self, key: PrivateKey) -> bool:
        """Whether every node has the key as a peer."""
        return self.nodes_with(key) == len(self.nodes)

    def is_out(self, key: PrivateKey) -> bool:
        """Whether no node has."""
        return self.nodes_with(key) == 0

    def said(self, key: PrivateKey) -> list[tuple[str, str]]:
        """What the gate said of a key: event and reason."""
        lines = [json.loads(line) for line in self.hosts.get(f"{NAME}-gate").logs().decode().splitlines()]
        return [(one["event"], one["reason"]) for one in lines if one.get("key") == key.public().base64()]

    # --- at the user's

    def vpn(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The user's command line, which gets the stack's outputs from standard input."""
        command = [sys.executable, "-m", "vpn.cli", *arguments, "--mesh", "-"]
        told = json.dumps(self.stack.outputs())
        return subprocess.run(
            command, input=told, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
        )

    def told(self, *arguments: str) -> str:
        """What the command line prints when it succeeds."""
        done = self.vpn(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def device(self, config: str = "", place: int = -2) -> Iterator[Device]:
        """A user's machine; gone afterwards."""
        device = Device(
            name=f"{NAME}-device{-place}",
            mesh=self.stack.outputs()["mesh"],
            node=f"{NAME}-a",
            browser=f"{NAME}-client",
            env=dict(os.environ),
            place=place,
        )
        try:
            device.start()
            if config:
                device.join(config)
            yield device
        finally:
            device.close()


def batched(entries: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Lists of so many entries each, the last one maybe shorter."""
    remaining = iter(entries)
    while batch := list(islice(remaining, size)):
        yield batch


def wg_quick(gated: Gated, key: PrivateKey, address: str) -> str:
    """A wg-quick file as somebody writes it by hand."""
    peers = [
        f"[Peer]\nPublicKey = {node['publicKey']}\nAllowedIPs = {node['address']}/32, {node['site']}\n"
        f"Endpoint = {node['endpoint']}\n"
        for node in gated.stack.outputs()["nodes"].values()
    ]
    return "\n".join([f"[Interface]\nPrivateKey = {key.base64()}\nAddress = {address}/32\n", *peers])
