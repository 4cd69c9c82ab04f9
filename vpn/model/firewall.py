"""The packet filter of a node, as text for nft(8).

It makes the node the boundary of its site: what is for the mesh goes through the tunnel or nowhere.
Encrypted packets are not tracked: WireGuard knows its peers, and they are most of what a node sees.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network

from vpn.model.topology import INTERFACE, Node, Topology

TABLE = "dstack_vpn"


def render(topology: Topology, node: Node) -> str:
    """A ruleset that replaces the node's own table in one transaction and leaves Docker's tables alone."""
    mesh, closed = _set(topology.mesh_ranges), _set((*topology.mesh_ranges, topology.underlay_range))
    return f"""\
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    chain encrypted_in {{
        type filter hook prerouting priority raw; policy accept;
        udp dport {topology.listen_port} ip daddr {node.underlay} notrack
    }}
    chain encrypted_out {{
        type filter hook output priority raw; policy accept;
        udp sport {topology.listen_port} ip saddr {node.underlay} notrack
    }}
    chain input {{
        type filter hook input priority filter; policy drop;
        udp dport {topology.listen_port} ip daddr {node.underlay} accept
        ct state established,related accept
        iifname "lo" accept
        meta l4proto icmp accept
        ip saddr {node.site} meta l4proto {{ tcp, udp }} th dport 53 accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        tcp flags syn tcp option maxseg size set rt mtu
        ct state established,related accept
        iifname "{INTERFACE}" ip daddr {node.site} accept
        ip saddr {node.site} oifname "{INTERFACE}" accept
        ip daddr {closed} drop
        ip saddr {node.site} accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {node.site} ip daddr != {mesh} masquerade
    }}
}}
"""


def _set(ranges: Iterable[IPv4Network]) -> str:
    return f"{{ {', '.join(map(str, ranges))} }}"
