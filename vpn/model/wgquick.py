"""The text of a member's configuration, in the format of wg-quick(8)."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from vpn.model.keys import PrivateKey, PublicKey

KEEPALIVE = 25  # seconds; a member is as a rule behind NAT, whose mappings end after 30 (RFC 4787, REQ-5 wants 120)


@dataclass(frozen=True, kw_only=True)
class MemberPeer:
    """A node as its members see it."""

    name: str
    public_key: PublicKey
    allowed: tuple[IPv4Network, ...]
    """The node itself and its site."""
    endpoint: str
    """host:port"""


def render(
    key: PrivateKey, address: IPv4Address, mtu: int, peers: Iterable[MemberPeer], resolvers: Iterable[str] = ()
) -> str:
    """What `wg-quick up` reads: the member's own key and address, and one section for every node.

    `resolvers`: addresses of resolvers, and domains to search; wg-quick(8) hands them to resolvconf(8).
    """
    interface = f"[Interface]\nPrivateKey = {key.base64()}\nAddress = {address}/32\nMTU = {mtu}\n"
    if resolvers:
        interface += f"DNS = {', '.join(resolvers)}\n"
    return "\n".join([interface, *map(_peer, peers)])


def _peer(peer: MemberPeer) -> str:
    lines = [
        "[Peer]",
        f"# {peer.name}",
        f"PublicKey = {peer.public_key.base64()}",
        f"AllowedIPs = {', '.join(map(str, peer.allowed))}",
        f"Endpoint = {peer.endpoint}",
        f"PersistentKeepalive = {KEEPALIVE}",
    ]
    return "\n".join(lines) + "\n"
