"""The packet filter of a node."""

import re

from hypothesis import given

from tests.model.example import MESH, NODE_A, NODE_B
from tests.model.strategies import topologies
from vpn.model import firewall
from vpn.model.topology import Topology

FILTER_OF_NODE_A = """\
table inet dstack_vpn
delete table inet dstack_vpn
table inet dstack_vpn {
    set open {
        type ipv4_addr . ipv4_addr; flags interval
        elements = {
            10.0.0.0/24 . 10.0.0.0/24,
            10.0.0.0/24 . 10.64.0.0/16,
            10.64.0.0/16 . 10.0.0.0/24,
            10.64.0.0/16 . 10.64.0.0/16
        }
    }
    set ping {
        type ipv4_addr . ipv4_addr; flags interval
        elements = {
            10.65.0.0/24 . 10.0.0.1,
            10.65.0.0/24 . 10.64.1.3
        }
    }
    set ports {
        type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags interval
        elements = {
            10.65.0.0/24 . 10.0.0.1 . tcp . 53,
            10.65.0.0/24 . 10.0.0.1 . udp . 53,
            10.65.0.0/24 . 10.64.1.3 . tcp . 80
        }
    }
    chain rules {
        ct mark 0xdb882be1 accept
        ct state related accept
        ct original ip saddr . ct original ip daddr @open goto granted
        meta l4proto icmp ct original ip saddr . ct original ip daddr @ping goto granted
        ct original ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst @ports goto granted
    }
    chain granted {
        ct mark set 0xdb882be1 accept
    }
    chain encrypted_in {
        type filter hook prerouting priority raw; policy accept;
        udp dport 51820 ip daddr 172.20.0.2 notrack
    }
    chain encrypted_out {
        type filter hook output priority raw; policy accept;
        udp sport 51820 ip saddr 172.20.0.2 notrack
    }
    chain own_names {
        type nat hook output priority -110; policy accept;
        ip daddr 127.0.0.11 meta l4proto { tcp, udp } th dport 53 meta skuid != nobody dnat ip to 10.64.1.1
    }
    chain input {
        type filter hook input priority filter; policy drop;
        udp dport 51820 ip daddr 172.20.0.2 accept
        iifname "wg0" goto rules
        iifname != "lo" fib saddr . iif oif missing drop
        ct state established,related accept
        iifname "lo" accept
        meta l4proto icmp accept
        ip saddr 10.64.1.0/24 meta l4proto { tcp, udp } th dport 53 accept
    }
    chain output {
        type filter hook output priority filter; policy accept;
        oifname "wg0" jump rules
        oifname "wg0" reject with icmpx admin-prohibited
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname != "wg0" fib saddr . iif oif missing drop
        tcp flags syn tcp option maxseg size set rt mtu
        iifname "wg0" ip daddr 10.64.1.0/24 jump rules
        iifname "wg0" drop
        ip saddr 10.64.1.0/24 oifname "wg0" jump rules
        oifname "wg0" reject with icmpx admin-prohibited
        ct state established,related accept
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


def test_node_b_has_the_same_filter_for_its_own_addresses_and_without_members_who_have_no_service_there() -> None:
    of_node_a, of_node_b = (lines(firewall.render(MESH, node)) for node in (NODE_A, NODE_B))
    moved = [line.replace("172.20.0.2", "172.20.0.3").replace("10.64.1.", "10.64.2.") for line in of_node_a]
    members = [line for line in moved if line.strip().startswith("10.65.0.0/24 . ")]
    assert [line for line in moved if line not in members] == of_node_b
    assert len(members) == 5


def lines(text: str) -> list[str]:
    """But for what groups the members' elements, and with one name for every mark."""
    kept = [line for line in text.splitlines() if line.strip() not in ("elements = {", "}")]
    return [re.sub("0x[0-9a-f]{8}", "MARK", line) for line in kept]


@given(topologies(min_nodes=2))
def test_no_filter_names_what_belongs_to_another_node(mesh: Topology) -> None:
    first, *others = mesh.nodes
    text = firewall.render(mesh, first)
    assert not [other for other in others if f" {other.site} " in text or f" {other.underlay} " in text]
