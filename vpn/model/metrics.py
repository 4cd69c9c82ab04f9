"""What a node tells its Prometheus about: where to listen, and its peers by name, as text for the node's agent."""

from vpn.model.keys import KeyRing
from vpn.model.monitoring import METRICS_PORT
from vpn.model.topology import Node, Topology
from vpn.model.wgconf import public_key

NONE = "none"


def render(topology: Topology, keys: KeyRing, node: Node) -> str:
    """Where to listen, the address of the relay beside the node, the seconds between two looks; then a line a peer.

    Empty when nobody asks: then nothing listens.
    """
    if topology.monitoring is None:
        return ""
    relay = topology.proxy_address(node) if node in topology.proxied else NONE
    peers = [f"{peer.name} {peer.address} {public_key(topology, keys, peer)}" for peer in topology.peers_of(node)]
    return "\n".join([f"{node.address}:{METRICS_PORT} {relay} {topology.monitoring.pause}", *peers, ""])
