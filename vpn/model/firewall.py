"""The packet filter of a node, as text for nft(8).

It makes the node the boundary of its site: what is for the mesh goes through the tunnel or nowhere.
"""

from vpn.model.topology import INTERFACE, Node, Topology

TABLE = "dstack_vpn"


def render(topology: Topology, node: Node) -> str:
    """A ruleset that replaces the node's own table in one transaction and leaves Docker's tables alone."""
    mesh = f"{{ {topology.vpn_range}, {topology.site_range} }}"
    return f"""\
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        udp dport {topology.listen_port} ip daddr {node.underlay} accept
        meta l4proto icmp accept
        ip saddr {node.site} meta l4proto {{ tcp, udp }} th dport 53 accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        tcp flags syn tcp option maxseg size set rt mtu
        ct state established,related accept
        iifname "{INTERFACE}" ip daddr {node.site} accept
        ip saddr {node.site} oifname "{INTERFACE}" accept
        ip daddr {{ {topology.vpn_range}, {topology.site_range}, {topology.underlay_range} }} drop
        ip saddr {node.site} accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {node.site} ip daddr != {mesh} masquerade
    }}
}}
"""
