"""The links whose transport a node chooses by itself, as text for the node's agent."""

from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology
from vpn.model.wgconf import public_key


def render(topology: Topology, keys: KeyRing, node: Node) -> str:
    """A line a link that this node can move; the other end comes along.

    The peer's name, address and public key, its endpoint over UDP and over TCP, and who answers whether UDP gets there.
    """
    lines = []
    for peer in topology.peers_of(node):
        link = topology.link(node, peer)
        udp, tcp = topology.udp_endpoint(node, peer), topology.tcp_endpoint(node, peer)
        if link and link.auto and udp and tcp:
            key, answers = public_key(topology, keys, peer), "/".join(map(str, topology.echo_endpoint(peer, node)))
            lines.append(f"{peer.name} {peer.address} {key} {udp} {tcp} {answers}\n")
    return "".join(lines)
