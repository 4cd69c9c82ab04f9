"""The links whose transport a node chooses by itself, as text for the node's agent."""

from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology
from vpn.model.wgconf import public_key


def render(topology: Topology, keys: KeyRing, node: Node) -> str:
    """A line a link.

    The peer's name, address and public key, its endpoint over UDP and over TCP, and who answers whether UDP gets there.
    """
    lines = []
    for peer in topology.peers_of(node):
        link = topology.link(node, peer)
        if link and link.auto:
            key = public_key(topology, keys, peer)
            relay, answers = topology.relay_endpoint(node, peer), topology.echo_endpoint(peer)
            lines.append(f"{peer.name} {peer.address} {key} {topology.endpoint(node, peer)} {relay} {answers}\n")
    return "".join(lines)
