"""Troubles between two nodes: silence, and packets that are lost for their size."""

from collections.abc import Iterator

from vpn.model.checks_of_containers import RELAY
from vpn.model.checkup import Checkup, Finding, few
from vpn.model.status import Node


def mtus(checkup: Checkup) -> Iterator[Finding]:
    """Paths that lose large packets."""
    names = {node["address"]: name for name, node in checkup.outputs["nodes"].items()}
    for name, probe in checkup.probes.items():
        for address, (largest, wanted) in probe.paths.items():
            if 0 < largest < wanted:
                yield Finding(
                    place=f"{name} - {names[address]}",
                    trouble="large packets are lost",
                    found=f"{largest} bytes get through, {wanted} do not",
                    fix=f"mtu: {largest} in the stack's config, or mend the network between them; then `pulumi up`",
                )


def handshakes(checkup: Checkup) -> Iterator[Finding]:
    """Tunnels without a handshake, and what may be the cause."""
    nodes = {node.name: node for node in checkup.status.nodes}
    told: set[frozenset[str]] = set()
    for node in nodes.values():
        for peer in node.peers:
            if peer.trouble and frozenset((node.name, peer.name)) not in told:
                told.add(frozenset((node.name, peer.name)))
                yield Finding(
                    place=f"{node.name} - {peer.name}",
                    trouble="the tunnel is silent",
                    found=peer.trouble,
                    fix="; ".join(_causes(checkup, node, nodes[peer.name], peer.endpoint)),
                )


def _causes(checkup: Checkup, node: Node, peer: Node, endpoint: str) -> Iterator[str]:
    """Candidates, the likely ones first."""
    troubles = [one for one in (node, peer) if one.own_trouble]
    for one in troubles:
        yield f"mend {one.name} first: {one.own_trouble}"
    if troubles:
        return
    entries = checkup.outputs["nodes"]
    if not endpoint:
        yield f"{node.name} does not know where {peer.name} is, and waits for it to begin"
    if entries[node.name]["host"] != entries[peer.name]["host"]:
        yield f"see whether UDP gets in at {peer.endpoint}; if only TCP does, say inbound: tcp of its host"
    down = [one.name for one in checkup.status.parts if one.kind == RELAY and one.trouble]
    if down:
        yield f"mend the relays {few(down)}"
    yield "see whether a firewall is between them, or a clock was set back"
    yield "`pulumi up` brings both ends the same preshared keys"
