"""The mesh as its stack's outputs describe it. They hold no secret: a file of them can be given to who holds a pass."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from bootstrap import command
from bootstrap.environment import existing
from vpn.cli.failure import CliError
from vpn.model.addresses import host, host_count
from vpn.model.keys import PublicKey
from vpn.model.wgquick import MemberPeer

PROJECT = Path(__file__).resolve().parents[2]
STANDARD_INPUT = "-"
FILE_FIX = "write it with: pulumi stack output --json >mesh.json"
SERVICE_FIX = "declare a service, or a rule from members, in the stack's config, and run `pulumi up`"
INBOUND_FIX = "put what members shall reach at a node of a host with inbound: udp"
STACK_FIX = "run `make up` or `pulumi up` first, choose a stack with --stack, or name a file of outputs with --mesh"


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """What a member must know of the mesh."""

    member_range: IPv4Network
    mtu: int
    contract: str
    rpc_url: str | None
    """Of the embedded chain; None if there is a real one."""
    domain: str
    nodes: Mapping[str, Mapping[str, Any]]

    @property
    def capacity(self) -> int:
        """How many passes have an address."""
        return host_count(self.member_range)

    def address(self, token: int) -> IPv4Address:
        """A member's address. Raises CliError when there is none for the number."""
        try:
            return host(self.member_range, token)
        except ValueError:
            reason = f"pass {token} has no address in the member range {self.member_range}"
            raise CliError(reason, fix=f"use a pass from 1 to {self.capacity}, or widen access.memberRange") from None

    def peers(self, published_at: str | None) -> list[MemberPeer]:
        """Every node with something for members that they reach.

        At the port published on its host, else at its own address; `published_at` is where all of them publish theirs.
        """
        admitting = {name: node for name, node in self.nodes.items() if node["members"]}
        if not admitting:
            raise CliError("no node has anything for members", fix=SERVICE_FIX)
        one_host = len({node["host"] for node in self.nodes.values() if node["container"]}) == 1
        reached = {name: node for name, node in admitting.items() if one_host or node["published"]}
        if not reached:
            raise CliError(f"nothing gets in at {', '.join(admitting)}", fix=INBOUND_FIX)
        return [self._peer(name, node, published_at) for name, node in reached.items()]

    def _peer(self, name: str, node: Mapping[str, Any], published_at: str | None) -> MemberPeer:
        if published_at and node["hostPort"] is None:
            raise CliError(f"{name} publishes no port", fix="set hostPort in the stack's config, and run `pulumi up`")
        return MemberPeer(
            name=name,
            public_key=PublicKey.parse(node["publicKey"]),
            allowed=(IPv4Network(node["address"]), IPv4Network(node["site"])),
            endpoint=f"{published_at}:{node['hostPort']}" if published_at else node["published"] or node["endpoint"],
        )


def read(source: str | None, stack: str) -> Mesh:
    """The mesh of a file of outputs ("-": standard input), else of a stack. Raises CliError."""
    try:
        return _mesh(outputs(source, stack))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        place = f"stack {stack}" if source is None else source
        raise CliError(f"{place} has no outputs of a mesh ({error!r})", fix=FILE_FIX) from None


def outputs(source: str | None, stack: str) -> Any:
    """Those of a file ("-": standard input), else of a stack. Raises CliError."""
    return _of_stack(stack) if source is None else _of_file(source)


def _mesh(outputs: Mapping[str, Any]) -> Mesh:
    access = outputs.get("access")
    if not access:
        raise CliError(
            "nobody but the nodes can join this mesh",
            fix="pulumi config set --path access.enabled true, then pulumi up",
        )
    return Mesh(
        member_range=IPv4Network(access["memberRange"]),
        mtu=int(access["mtu"]),
        contract=str(access["contract"]),
        rpc_url=access["rpcUrl"],
        domain=str(access["domain"]),
        nodes=dict(outputs["nodes"]),
    )


def _of_file(source: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if source == STANDARD_INPUT else Path(source).read_text())
    except (OSError, ValueError) as error:
        raise CliError(f"--mesh {source}: {error}", fix=FILE_FIX) from None


def _of_stack(stack: str) -> Any:
    ask = ["pulumi", "--non-interactive", "stack", "output", "--json", "--stack", stack]
    result = command.ask(ask, env=existing(), cwd=PROJECT)
    if not result.ok:
        raise CliError(f"stack {stack} does not tell its outputs: {result.output.strip()}", fix=STACK_FIX)
    return json.loads(result.answer)
