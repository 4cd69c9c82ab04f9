"""The settings of the relay beside a node, as JSON. Their only secrets prove who may meet at the relay of a third."""

import json
from dataclasses import asdict
from ipaddress import IPv4Network
from typing import Any

from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology
from vpn.model.transport import ECHO_PORT

IDLE = 130  # seconds; Mullvad's own figure, longer than WireGuard goes without a packet when it keeps alive
CONNECTIONS = 1024
CONNECTIONS_OF_ONE = 256  # behind one address there may be many nodes, and connections that nobody has ended yet
ANYBODY = IPv4Network("0.0.0.0/0")


def render(topology: Topology, keys: KeyRing, node: Node) -> str:
    """A way out for every peer that it connects to, one way in for all, and where others meet."""
    peers = topology.peers_of(node)
    settings = {
        "outgoing": [_outgoing(topology, node, peer) for peer in peers if _connects(topology, node, peer)],
        "incoming": [_incoming(topology, node)],
        "echo": [_echo(topology, node)],
        "meetings": [_meeting(topology, keys, node, peer) for peer in peers if _meets(topology, node, peer)],
        "places": [{"key": keys.meeting_key(*pair, node.name)} for pair in topology.meetings_at(node)],
    }
    return json.dumps(settings, indent=2) + "\n"


def _meets(topology: Topology, node: Node, peer: Node) -> bool:
    link = topology.link(node, peer)
    return link is not None and bool(link.through)


def _connects(topology: Topology, node: Node, peer: Node) -> bool:
    return topology.relays_from(node, peer) == (peer.name,)


def _outgoing(topology: Topology, node: Node, peer: Node) -> dict[str, Any]:
    return {
        "listen": topology.relay_endpoint(node, peer),
        "forward": topology.proxy_endpoint(peer, node),
        "sources": [f"{node.underlay}/32"],
        "idle": IDLE,
        "peer": f"{node.underlay}:{topology.listen_port}",
        "tls": _tls(topology, peer),
        "mutual": node.host == peer.host,
    }


def _tls(topology: Topology, node: Node) -> dict[str, Any] | None:
    ingress = topology.ingresses.get(node.name)
    return asdict(ingress.tls) if ingress and ingress.tls else None


def _meeting(topology: Topology, keys: KeyRing, node: Node, peer: Node) -> dict[str, Any]:
    link = topology.link(node, peer)
    pair = sorted((node.name, peer.name))
    return {
        "listen": topology.relay_endpoint(node, peer),
        "peer": f"{node.underlay}:{topology.listen_port}",
        "side": pair.index(node.name),
        "ways": [
            {
                "name": name,
                "forward": topology.proxy_endpoint(topology.node(name), node),
                "tls": _tls(topology, topology.node(name)),
                "key": keys.meeting_key(node.name, peer.name, name),
            }
            for name in (link.through if link else ())
        ],
    }


def _echo(topology: Topology, node: Node) -> dict[str, Any]:
    """For who asks whether UDP gets here; it answers no more than it was told."""
    return {"listen": f"{topology.proxy_address(node)}:{ECHO_PORT}", "sources": [str(_callers(topology, node))]}


def _incoming(topology: Topology, node: Node) -> dict[str, Any]:
    is_behind_gateway = node.name in topology.ingresses
    return {
        "listen": f"{topology.proxy_address(node)}:{topology.listen_port}",
        "forward": f"{node.underlay}:{topology.listen_port}",
        "sources": [str(_callers(topology, node))],
        "idle": IDLE,
        "connections": CONNECTIONS,
        "connectionsOfOne": CONNECTIONS if is_behind_gateway else CONNECTIONS_OF_ONE,
    }


def _callers(topology: Topology, node: Node) -> IPv4Network:
    """The relays of the host; anybody, where the port is published or a gateway hides who comes.

    Not each peer by its address, or a new one would close the port, and cut the connections of the others.
    """
    is_public = topology.proxy_host_port(node) or node.name in topology.ingresses
    return ANYBODY if is_public else topology.underlay_range
