"""The packet filter of a node."""

from hypothesis import given

from tests.model.example import MESH, NODE_A, NODE_B
from tests.model.strategies import topologies
from vpn.model import firewall
from vpn.model.topology import Topology

FILTER_OF_NODE_A = """\
table inet dstack_vpn
delete table inet dstack_vpn
table inet dstack_vpn {
    chain encrypted_in {
        type filter hook prerouting priority raw; policy accept;
        udp dport 51820 ip daddr 172.20.0.2 notrack
    }
    chain encrypted_out {
        type filter hook output priority raw; policy accept;
        udp sport 51820 ip saddr 172.20.0.2 notrack
    }
    chain input {
        type filter hook input priority filter; policy drop;
        udp dport 51820 ip daddr 172.20.0.2 accept
        ct state established,related accept
        iifname "lo" accept
        meta l4proto icmp accept
        ip saddr 10.64.1.0/24 meta l4proto { tcp, udp } th dport 53 accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        tcp flags syn tcp option maxseg size set rt mtu
        ct state established,related accept
        iifname "wg0" ip daddr 10.64.1.0/24 accept
        ip saddr 10.64.1.0/24 oifname "wg0" accept
        ip daddr { 10.0.0.0/24, 10.64.0.0/16, 10.65.0.0/24, 172.20.0.0/16 } drop
        ip saddr 10.64.1.0/24 accept
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.64.1.0/24 ip daddr != { 10.0.0.0/24, 10.64.0.0/16, 10.65.0.0/24 } masquerade
    }
}
"""


def test_node_a() -> None:
    assert firewall.render(MESH, NODE_A) == FILTER_OF_NODE_A


def test_node_b_has_the_same_filter_for_its_own_addresses() -> None:
    of_node_b = FILTER_OF_NODE_A.replace("172.20.0.2", "172.20.0.3").replace("10.64.1.0/24", "10.64.2.0/24")
    assert firewall.render(MESH, NODE_B) == of_node_b


@given(topologies(min_nodes=2))
def test_no_filter_names_what_belongs_to_another_node(mesh: Topology) -> None:
    first, *others = mesh.nodes
    text = firewall.render(mesh, first)
    assert not [other for other in others if f" {other.site} " in text or f" {other.underlay} " in text]
