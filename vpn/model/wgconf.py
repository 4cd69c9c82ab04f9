"""The text of a node's WireGuard configuration, in the format of wg(8).

Every setting is written out, also a zero: what `wg addconf` does not read, it leaves as it is.
"""

from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology


def render(topology: Topology, keys: KeyRing, node: Node) -> str:
    """What `wg addconf` reads on this node: its own key and one section for every peer."""
    sections = [_interface(topology, keys, node)]
    sections += [_peer(topology, keys, node, peer) for peer in topology.peers_of(node)]
    return "\n".join(sections)


def public_key(topology: Topology, keys: KeyRing, node: Node) -> str:
    """Base64 of the key by which its peers know a node."""
    if node.host.guest:
        return topology.attested[node.name].base64()
    return keys.private_key(node.name, topology.generation(node)).public().base64()


def _interface(topology: Topology, keys: KeyRing, node: Node) -> str:
    own = "" if node.host.guest else f"PrivateKey = {_private_key(topology, keys, node)}\n"  # the keeper there adds it
    return f"[Interface]\n{own}ListenPort = {topology.listen_port}\nFwMark = 0\n"


def _private_key(topology: Topology, keys: KeyRing, node: Node) -> str:
    return keys.private_key(node.name, topology.generation(node)).base64()


def _peer(topology: Topology, keys: KeyRing, node: Node, peer: Node) -> str:
    allowed = ", ".join(f"{end.address}/32, {end.site}" for end in topology.behind(node, peer))
    endpoint = topology.endpoint(node, peer)
    lines = [
        "[Peer]",
        f"# {peer.name}",
        f"PublicKey = {public_key(topology, keys, peer)}",
        *_preshared(topology, keys, node, peer),
        f"AllowedIPs = {allowed}",
        *([f"Endpoint = {endpoint}"] if endpoint else []),  # else the peer begins
        f"PersistentKeepalive = {topology.keepalive_to(node, peer)}",
    ]
    return "\n".join(lines) + "\n"


def _preshared(topology: Topology, keys: KeyRing, node: Node, peer: Node) -> list[str]:
    """None with a confidential VM: no secret that is ours goes in there."""
    if node.host.guest or peer.host.guest:
        return []
    return [f"PresharedKey = {keys.preshared_key(node.name, peer.name, topology.preshared_generation).base64()}"]
