"""The packet filter of a node, as text for nft(8).

It makes the node the boundary of its site: what is for the mesh goes through the tunnel or nowhere, and only as the
policy says, on the way out as well as on the way in. Connections are judged by who opened them. The mark of one that
passed names the policy, so that a new policy judges all of them anew.
Encrypted packets are not tracked: WireGuard knows its peers, and they are most of what a node sees.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Network

from vpn.model.grants import Grant, grants
from vpn.model.monitoring import METRICS_PORT
from vpn.model.topology import INTERFACE, Node, Topology

TABLE, DENIED = "dstack_vpn", "denied"
PAIR, WITH_PORT = "ipv4_addr . ipv4_addr", "ipv4_addr . ipv4_addr . inet_proto . inet_service"
DOCKER_RESOLVER = "127.0.0.11"


def render(topology: Topology, node: Node) -> str:
    """A ruleset that replaces the node's own table in one transaction and leaves Docker's tables alone."""
    mesh, closed = _set(topology.mesh_ranges), _set((*topology.mesh_ranges, topology.underlay_range))
    sets = _policy(topology, node)
    is_gateway = node.name in topology.gateways
    between = f'        iifname "{INTERFACE}" oifname "{INTERFACE}" jump rules\n' if is_gateway else ""
    to_own_resolver = f"dnat ip to {node.gateway}"
    asked = _Asked.of(topology, node)
    mark = f"0x{sha256(sets.encode()).hexdigest()[:7]}1"
    return f"""\
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
{sets}\
{asked.counter}\
    chain rules {{
        ct mark {mark} accept
        ct state related accept
        ct original ip saddr . ct original ip daddr @open goto granted
        meta l4proto icmp ct original ip saddr . ct original ip daddr @ping goto granted
        ct original ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst @ports goto granted
{asked.count}\
    }}
    chain granted {{
        ct mark set {mark} accept
    }}
    chain encrypted_in {{
        type filter hook prerouting priority raw; policy accept;
        udp dport {topology.listen_port} ip daddr {node.underlay} notrack
    }}
    chain encrypted_out {{
        type filter hook output priority raw; policy accept;
        udp sport {topology.listen_port} ip saddr {node.underlay} notrack
    }}
    chain own_names {{
        type nat hook output priority -110; policy accept;
        ip daddr {DOCKER_RESOLVER} meta l4proto {{ tcp, udp }} th dport 53 meta skuid != nobody {to_own_resolver}
    }}
    chain input {{
        type filter hook input priority filter; policy drop;
{asked.only}\
        udp dport {topology.listen_port} ip daddr {node.underlay} accept
        iifname "{INTERFACE}" goto rules
        iifname != "lo" fib saddr . iif oif missing drop
        ct state established,related accept
        iifname "lo" accept
        meta l4proto icmp accept
        ip saddr {node.site} meta l4proto {{ tcp, udp }} th dport 53 accept
{asked.beside}\
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        oifname "{INTERFACE}" jump rules
        oifname "{INTERFACE}" reject with icmpx admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        iifname != "{INTERFACE}" fib saddr . iif oif missing drop
        tcp flags syn tcp option maxseg size set rt mtu
        iifname "{INTERFACE}" ip daddr {node.site} jump rules
{between}\
        iifname "{INTERFACE}" drop
        ip saddr {node.site} oifname "{INTERFACE}" jump rules
        oifname "{INTERFACE}" reject with icmpx admin-prohibited
        ct state established,related accept
        ip daddr {closed} drop
        ip saddr {node.site} accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {node.site} ip daddr != {mesh} masquerade
    }}
}}
"""


@dataclass(frozen=True)
class _Asked:
    """What is there so that a node can be asked how it is; nothing if nobody does."""

    counter: str = ""
    count: str = ""
    """Of what comes to the end of the rules."""
    only: str = ""
    """Nobody else asks, whatever the rules say."""
    beside: str = ""
    """Who asks from the node's own site does not come through a tunnel."""

    @classmethod
    def of(cls, topology: Topology, node: Node) -> "_Asked":
        monitoring = topology.monitoring
        if monitoring is None:
            return cls()
        source, port = f"ip saddr {monitoring.address}", f"tcp dport {METRICS_PORT}"
        return cls(
            counter=f"    counter {DENIED} {{ }}\n",
            count=f"        counter name {DENIED}\n",
            only=f"        {port} ip saddr != {monitoring.address} drop\n",
            beside=f"        {source} ip daddr {node.address} {port} accept\n" if node.name == monitoring.node else "",
        )


def _policy(topology: Topology, node: Node) -> str:
    """What concerns a node, as one set of pairs, one of pairs that may ping, and one with ports."""
    known = grants(topology, node)
    everything = {_pair(grant) for grant in known if grant.ports is None}
    ports = {f"{_pair(grant)} . {grant.ports.protocol} . {grant.ports.range}" for grant in known if grant.ports}
    pings = {_pair(grant) for grant in known} | ({*_routes(topology, node)} if not topology.policy.is_open else set())
    return (
        _named("open", PAIR, everything) + _named("ping", PAIR, pings - everything) + _named("ports", WITH_PORT, ports)
    )


def _routes(topology: Topology, node: Node) -> Iterable[str]:
    """Both ends of a route may ping each other, as those of every tunnel: so a node learns which of its paths work."""
    ends = {(route[0], route[-1]) for route in topology.routes if node.name in route}
    ends |= {(node.name, peer.name) for peer in topology.peers_of(node)}
    for one, other in ends:
        here, there = topology.node(one).address, topology.node(other).address
        yield from (f"{here} . {there}", f"{there} . {here}")


def _pair(grant: Grant) -> str:
    return " . ".join(str(one).removesuffix("/32") for one in (grant.source, grant.target))


def _named(name: str, kind: str, elements: Iterable[str]) -> str:
    listed = ",\n            ".join(sorted(elements))
    content = f"        elements = {{\n            {listed}\n        }}\n" if listed else ""
    return f"    set {name} {{\n        type {kind}; flags interval\n{content}    }}\n"


def _set(ranges: Iterable[IPv4Network]) -> str:
    return f"{{ {', '.join(map(str, ranges))} }}"
