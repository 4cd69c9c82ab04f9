"""The settings of the relay beside a node, as JSON. They hold no secret: what it carries is encrypted."""

import json
from dataclasses import asdict
from ipaddress import IPv4Network
from typing import Any

from vpn.model.topology import Node, Topology
from vpn.model.transport import ECHO_PORT

IDLE = 130  # seconds; Mullvad's own figure, longer than WireGuard goes without a packet when it keeps alive
CONNECTIONS = 1024
CONNECTIONS_OF_ONE = 32  # behind one address there may be a few devices, and connections that nobody has ended yet
ANYBODY = IPv4Network("0.0.0.0/0")


def render(topology: Topology, node: Node) -> str:
    """A way out for every peer over TCP, and one way in for all of them."""
    peers = [peer for peer in topology.peers_of(node) if topology.link(node, peer)]
    settings = {
        "outgoing": [_outgoing(topology, node, peer) for peer in peers],
        "incoming": [_incoming(topology, node)],
        "echo": [_echo(topology, node)],
    }
    return json.dumps(settings, indent=2) + "\n"


def _outgoing(topology: Topology, node: Node, peer: Node) -> dict[str, Any]:
    ingress = topology.ingresses.get(peer.name)
    return {
        "listen": topology.relay_endpoint(node, peer),
        "forward": topology.proxy_endpoint(peer),
        "sources": [f"{node.underlay}/32"],
        "idle": IDLE,
        "peer": f"{node.underlay}:{topology.listen_port}",
        "tls": asdict(ingress.tls) if ingress and ingress.tls else None,
    }


def _echo(topology: Topology, node: Node) -> dict[str, Any]:
    """For the peers, which ask whether UDP gets here."""
    peers = [f"{peer.underlay}/32" for peer in topology.peers_of(node) if topology.link(node, peer)]
    return {"listen": f"{topology.proxy_address(node)}:{ECHO_PORT}", "sources": peers}


def _incoming(topology: Topology, node: Node) -> dict[str, Any]:
    """For the peers' relays; for anybody, where the port is published or a gateway hides who comes."""
    ingress = topology.ingresses.get(node.name)
    peers = [f"{topology.proxy_address(peer)}/32" for peer in topology.peers_of(node) if topology.link(node, peer)]
    return {
        "listen": f"{topology.proxy_address(node)}:{topology.listen_port}",
        "forward": f"{node.underlay}:{topology.listen_port}",
        "sources": [str(ANYBODY)] if topology.proxy_host_port(node) or ingress else peers,
        "idle": IDLE,
        "connections": CONNECTIONS,
        "connectionsOfOne": CONNECTIONS if ingress else CONNECTIONS_OF_ONE,
    }
