"""Throughput of the tunnel: TCP between two nodes of the real stack, beside bare wireguard-go on such a path.

All ends run the same image, so the same wireguard-go and iperf3, and the same WireGuard configuration, MTU included.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.engine import IMAGE, PREFIX, clear, docker, execute, wait_for_ping
from tests.bench.shell import say
from tests.bench.stack import Stack, config, container, topology
from tests.bench.table import Row, Target
from vpn.model import wgconf
from vpn.model.keys import SEED_LENGTH, KeyRing
from vpn.model.topology import INTERFACE, Topology

OWN = f"{PREFIX}-line-"
"""Begins the name of everything here that is not the stack's."""
PORT = "5201"
TRANSFERS = 4
"""On every line in a round of the bench: many short ones, because what else the machine does comes and goes."""
MEGA = 1e6
NODE, WORKLOAD, BRIDGE, VETH = "node to node", "workload to workload", "bare, on a bridge", "bare, over veth"
TARGET = Target(limit=0.95, at_least=True)
BARE = {"vpnRange": "10.92.0.0/24", "underlayRange": "172.28.0.0/16", "siteRange": "10.93.0.0/16"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A way for TCP, from a client that waits for orders to a server that listens."""

    client: str
    """Container."""
    address: str
    """Of the server."""
    bare: bool = False
    """Has no part of the stack in it."""

    def measure(self, duration: int) -> float:
        """Mbit/s that arrive in so many seconds, the first one left out."""
        iperf = ("iperf3", "--json", "--connect-timeout", "2000", "--omit", "1", "--time", str(duration))
        result = json.loads(execute(self.client, *iperf, "--client", self.address, timeout=duration + 20))
        return float(result["end"]["sum_received"]["bits_per_second"]) / MEGA


def measure(stack: Stack, rounds: int, duration: int) -> list[Row]:
    """Set up every line, send over them, and take all of it down again."""
    try:
        mesh = topology(config(2) | BARE)
        lines = {**_stack_lines(stack), BRIDGE: _on_a_bridge(mesh), VETH: _over_veth(mesh)}
        return _rows(_in_turn(stack, lines, rounds, duration))
    finally:
        clear(OWN)
        stack.destroy()


def _in_turn(stack: Stack, lines: Mapping[str, Line], rounds: int, duration: int) -> dict[str, list[float]]:
    """Send over every line in turn, round by round."""
    found: dict[str, list[float]] = {name: [] for name in lines}
    for number in range(rounds * TRANSFERS):
        for name in _rotated(list(lines), number):
            found[name].append(_measured(stack, lines[name], duration))
            say(f"throughput, round {number + 1} of {rounds * TRANSFERS}: {name}: {found[name][-1]:.0f} Mbit/s")
    return found


def _rows(found: Mapping[str, list[float]]) -> list[Row]:
    def row(name: str, against: str, target: Target | None = None) -> Row:
        samples, reference = found[name], found[against]
        name = f"tunnel, {name}"
        return Row(name=name, unit="Mbit/s", samples=samples, against=against, reference=reference, target=target)

    return [row(NODE, BRIDGE, TARGET), row(NODE, VETH), row(WORKLOAD, BRIDGE)]


def _rotated(names: list[str], by: int) -> list[str]:
    """Who goes first changes, so that none gains from its place."""
    by %= len(names)
    return names[by:] + names[:by]


def _measured(stack: Stack, line: Line, duration: int) -> float:
    """The stack stands still while a bare line is measured: it must not cost that anything."""
    if line.bare:
        with _paused(sorted(stack.nodes())):
            return line.measure(duration)
    return line.measure(duration)


@contextmanager
def _paused(names: list[str]) -> Iterator[None]:
    docker("pause", *names)
    try:
        yield
    finally:
        docker("unpause", *names)


# --- the stack --------------------------------------------------------------------------------------------------------


def _stack_lines(stack: Stack) -> dict[str, Line]:
    """Two nodes with a workload each."""
    say("throughput: bringing up the stack")
    server, client = f"{PREFIX}-server", f"{PREFIX}-client"
    workloads: list[dict[str, Any]] = [
        {"name": server, "node": "node-1", "image": IMAGE},
        {"name": client, "node": "node-2", "image": IMAGE, "command": ["sleep", "infinity"]},
    ]
    stack.configure(config(2, workloads))
    stack.up()
    address = next(str(one.address) for one in stack.topology.workloads if one.name == server)
    return {NODE: _between_nodes(stack), WORKLOAD: Line(client=client, address=address)}


def _between_nodes(stack: Stack) -> Line:
    """From inside the namespace of one node into that of the other: nothing but the tunnel."""
    at_node("node-1")
    return Line(client=at_node("node-2", "sleep", "infinity"), address=str(stack.topology.node("node-1").address))


def at_node(node: str, *command: str) -> str:
    """Start something, an iperf3 server if nothing else, in the network namespace of a node; its container's name."""
    name = f"{OWN}at-{node}"
    docker("run", "--detach", "--name", name, "--network", f"container:{container(node)}", IMAGE, *command)
    return name


# --- bare wireguard-go ------------------------------------------------------------------------------------------------


def _on_a_bridge(mesh: Topology) -> Line:
    """Two plain containers on a plain bridge network."""
    network = f"{OWN}bridge"
    docker("network", "create", "--subnet", str(mesh.underlay_range), network)
    for node in mesh.nodes:
        _container(f"{network}-{node.name}", "--network", network, "--ip", str(node.underlay))
    return _tunnel(mesh, network)


def _over_veth(mesh: Topology) -> Line:
    """Two containers with nothing but a veth pair between them; the second sees the first's process 1, to reach it."""
    name = f"{OWN}veth"
    first, last = (f"{name}-{node.name}" for node in mesh.nodes)
    _container(first, "--network", "none")
    _container(last, "--network", "none", "--pid", f"container:{first}")
    execute(last, *("ip", "link", "add", "underlay", "type", "veth", "peer", "name", "underlay", "netns", "1"))
    for node in mesh.nodes:
        address = f"{node.underlay}/{mesh.underlay_range.prefixlen}"
        execute(f"{name}-{node.name}", "ip", "address", "add", address, "dev", "underlay")
        execute(f"{name}-{node.name}", "ip", "link", "set", "underlay", "up")
    return _tunnel(mesh, name)


def _container(name: str, *place: str) -> None:
    """Start an iperf3 server that wireguard-go can run beside."""
    docker("run", "--detach", "--name", name, "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun", *place, IMAGE)


def _tunnel(mesh: Topology, name: str) -> Line:
    """Start wireguard-go in both containers, configured as the stack's nodes are."""
    keys = KeyRing(seed=secrets.token_hex(SEED_LENGTH)[:SEED_LENGTH], mesh=mesh.name)
    for node in mesh.nodes:
        command = ("tunnel", INTERFACE, f"{node.address}/32", str(mesh.mtu), str(mesh.vpn_range))
        execute(f"{name}-{node.name}", *command, stdin=wgconf.render(mesh, keys, node))
    first, last = mesh.nodes
    line = Line(client=f"{name}-{last.name}", address=str(first.address), bare=True)
    wait_for_ping(line.client, line.address)
    return line
