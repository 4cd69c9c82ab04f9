"""The mesh as one value: nodes, their sites and workloads, and who is whose peer."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

from vpn.model.access import Access
from vpn.model.addresses import host, host_number, subnet
from vpn.model.hosts import LOCAL, Host, Reach
from vpn.model.ingress import Ingress
from vpn.model.keys import PublicKey
from vpn.model.monitoring import Monitoring
from vpn.model.policy import MEMBERS, Expectation, Policy
from vpn.model.postgres import Place, Postgres
from vpn.model.shape import Pair, Shape, steps
from vpn.model.transport import ECHO_PORT, FIRST_PORT, RelayedLink

SITE_PREFIX = 24
INTERFACE = "wg0"
MOST_GENERATIONS = 1_000_000
NAT_KEEPALIVE = 25  # seconds; mappings of UDP may end after 30 (RFC 4787, REQ-5 wants 120)
CARRIER, GATE, CHAIN = "config", "gate", "chain"  # containers of the mesh beside the nodes: <name>-<this>


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A plain container at the site of a node; the node is its only way in and out."""

    name: str
    node: str
    address: IPv4Address
    image: str | None = None
    """Image to pull. Either this or `build`."""
    build: str | None = None
    """Folder with a Dockerfile, relative to the project."""
    command: tuple[str, ...] = ()
    """Replaces the image's command when not empty."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A WireGuard router and the numbers that belong to it."""

    name: str
    address: IPv4Address
    """On the VPN."""
    underlay: IPv4Address
    """On the Docker network that carries the encrypted packets."""
    site: IPv4Network
    """The network of its workloads."""
    host_port: int | None
    """UDP port published on the Docker host; None when nothing is published."""
    host: Host = LOCAL
    """Where it runs."""
    key_generation: int = 0
    """How often this node alone got a new key."""

    @property
    def gateway(self) -> IPv4Address:
        """The node's address at its site: default route and resolver of the workloads."""
        return host(self.site, 1)

    @property
    def site_address(self) -> IPv4Address:
        """The address Docker knows the node by at its site; Docker reserves the gateway's for itself."""
        return host(self.site, 2)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """A checked mesh; every generated file and every resource is a view on it."""

    name: str
    """Prefix of everything the mesh owns on a Docker host."""
    domain: str
    """DNS domain of the mesh."""
    vpn_range: IPv4Network
    underlay_range: IPv4Network
    site_range: IPv4Network
    listen_port: int
    """UDP port of WireGuard on every node's underlay address."""
    mtu: int
    """MTU of the tunnel in bytes."""
    keepalive: int
    """Persistent keepalive in seconds; 0 turns it off (wg(8))."""
    key_generation: int
    """How often all keys were made anew."""
    nodes: tuple[Node, ...]
    workloads: tuple[Workload, ...]
    policy: Policy
    """Who may talk to whom."""
    expectations: tuple[Expectation, ...] = ()
    """What the policy is said to do; checked."""
    preshared_key_generation: int = 0
    """How often the preshared keys alone were made anew."""
    access: Access | None = None
    """Who else may join; None: nobody."""
    shape: Shape = field(default_factory=Shape)
    """Which nodes that may talk have a tunnel, and how the others' packets go."""
    relayed_links: tuple[RelayedLink, ...] = ()
    """The pairs that speak over TCP, or can; all others speak UDP."""
    proxy_port: int = 0
    """TCP port on the Docker host of the relay beside the node with the first address; 0 publishes none."""
    ingresses: Mapping[str, Ingress] = field(default_factory=dict)
    """Gateways in front of relays, by the node's name."""
    postgres: Postgres | None = None
    """A PostgreSQL cluster at some of the sites."""
    monitoring: Monitoring | None = None
    """Who asks all nodes how they are; None: nobody."""
    attested: Mapping[str, PublicKey] = field(default_factory=dict)
    """The keys of nodes in confidential VMs, which only these have, by the node's name."""
    outside: frozenset[str] = frozenset()
    """Nodes that are not let in yet: their VMs are to be deployed first."""

    @property
    def places(self) -> tuple[Place | Monitoring, ...]:
        """What else is at the sites."""
        monitoring = (self.monitoring,) if self.monitoring else ()
        return (*(self.postgres.places if self.postgres else ()), *monitoring)

    @property
    def mesh_ranges(self) -> tuple[IPv4Network, ...]:
        """What is behind the tunnels or nowhere."""
        members = (self.access.member_range,) if self.access else ()
        return (self.vpn_range, self.site_range, *members)

    @property
    def underlay_gateway(self) -> IPv4Address:
        """Docker's own address on the underlay."""
        return host(self.underlay_range, 1)

    def node(self, name: str) -> Node:
        """The node of a name. Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def inside(self) -> tuple[Node, ...]:
        """The nodes that are let in."""
        return tuple(node for node in self.nodes if node.name not in self.outside)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts that have nodes, in the order of these."""
        return tuple(dict.fromkeys(node.host for node in self.nodes))

    @property
    def engines(self) -> tuple[Host, ...]:
        """The hosts with a Docker engine of ours."""
        return tuple(host for host in self.hosts if not host.guest)

    @property
    def guests(self) -> tuple[Node, ...]:
        """The nodes in confidential VMs."""
        return tuple(node for node in self.nodes if node.host.guest)

    def nodes_on(self, host: Host) -> tuple[Node, ...]:
        """The nodes of a host."""
        return tuple(node for node in self.nodes if node.host == host)

    # --- tunnels

    @cached_property
    def routes(self) -> tuple[tuple[str, ...], ...]:
        """By which nodes packets go, for every two that may talk; both ends are among them."""
        pairs = [(one.name, other.name) for at, one in enumerate(self.nodes) for other in self.nodes[at + 1 :]]
        routes = (self.shape.route(*pair) for pair in pairs if self.policy.talk(*pair))
        return tuple(route for route in routes if self.outside.isdisjoint(route))

    @cached_property
    def _ways(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """For every node what it sends to whom: destinations by peer; a peer is its own destination, too."""
        ways: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        for route in self.routes:
            for one, other in pairwise(route):
                ways[one][other] |= {other: None, route[-1]: None}
                ways[other][one] |= {one: None, route[0]: None}
        return {node: {peer: tuple(ends) for peer, ends in peers.items()} for node, peers in ways.items()}

    def peers_of(self, node: Node) -> tuple[Node, ...]:
        """The nodes it has a tunnel with, in the mesh's order."""
        peers = self._ways.get(node.name, {})
        return tuple(peer for peer in self.nodes if peer.name in peers)

    def behind(self, node: Node, peer: Node) -> tuple[Node, ...]:
        """The nodes whose packets go between these two, on the peer's side: the peer, and for whom it is a gateway."""
        return tuple(self.node(name) for name in self._ways[node.name][peer.name])

    @cached_property
    def gateways(self) -> frozenset[str]:
        """Nodes that hand on packets between others."""
        return frozenset(name for route in self.routes for name in route[1:-1])

    def passes(self, node: str, source: str, target: str) -> bool:
        """Whether packets between two nodes come by a third, or by one of the two."""
        return node in (source, target) or (node in self.gateways and node in self.shape.route(source, target))

    def path_mtu(self, node: Node, target: Node) -> int:
        """MTU in bytes of all tunnels from one node to another."""
        links = [self._links.get(tunnel) for tunnel in steps(self.shape.route(node.name, target.name))]
        return min(link.mtu if link else self.mtu for link in links)

    def talks_with(self, node: Node) -> tuple[Node, ...]:
        """Nodes that may ping it: who may talk with it, and who has a tunnel with it."""
        peers = self._ways.get(node.name, {})
        others = (other for other in self.nodes if other != node and self.outside.isdisjoint((node.name, other.name)))
        return tuple(other for other in others if other.name in peers or self.policy.talk(node.name, other.name))

    def admits_members(self, node: Node) -> bool:
        """Whether members have a tunnel to a node: something there is for them."""
        return self.access is not None and not node.host.guest and self.policy.reaches(MEMBERS, node.name)

    def address(self, name: str) -> IPv4Address:
        """Where a node, a workload or a place is on the mesh. Raises KeyError."""
        places = {node.name: node.address for node in self.nodes} | {one.name: one.address for one in self.places}
        return (places | {workload.name: workload.address for workload in self.workloads})[name]

    @cached_property
    def _links(self) -> dict[Pair, RelayedLink]:
        return {link.between: link for link in self.relayed_links}

    def link(self, node: Node, peer: Node) -> RelayedLink | None:
        """How two nodes speak over TCP; None if they never do."""
        return self._links.get(frozenset((node.name, peer.name)))

    @property
    def proxied(self) -> tuple[Node, ...]:
        """The nodes with a relay beside them: all, if it is published, else those that speak over TCP, or can.

        One in a confidential VM has it always: what runs there is measured, and shall not follow from the others.
        """
        named = {name for link in self.relayed_links for name in (*link.between, *link.through)}
        return tuple(node for node in self.nodes if self.proxy_port or node.host.guest or node.name in named)

    def node_of(self, name: str) -> Node:
        """The node itself, or the one at whose site a workload or a place is. Raises KeyError."""
        at = {workload.name: workload.node for workload in self.workloads} | {one.name: one.node for one in self.places}
        return self.node(at.get(name, name))

    def container(self, name: str) -> str:
        """Name of the container of a node or a workload."""
        return name if any(workload.name == name for workload in self.workloads) else f"{self.name}-{name}"

    def number(self, node: Node) -> int:
        """Which host of the VPN's range it is."""
        return host_number(self.vpn_range, node.address)

    def proxy_address(self, node: Node) -> IPv4Address:
        """The relay's address on the underlay, of which nodes have the lower half and relays the upper one."""
        return host(self.underlay_range, self.underlay_range.num_addresses // 2 + self.number(node))

    @property
    def keeper_address(self) -> IPv4Address:
        """In a confidential VM, the keeper's address on the underlay, between those of nodes and of relays."""
        return host(self.underlay_range, self.underlay_range.num_addresses // 2)

    @property
    def keeper_port(self) -> int:
        """TCP port of the keeper in a confidential VM, where the relay has that of WireGuard."""
        return self.listen_port + 1

    def keeper(self, node: Node) -> Ingress:
        """Where the keeper of a node answers. Raises ValueError for a node that is not in a confidential VM."""
        if node.host.guest is None:
            raise ValueError(f"{node.name} is not in a confidential VM")
        return node.host.guest.ingress(self.keeper_port)

    def proxy_host_port(self, node: Node) -> int | None:
        """TCP port of its relay on the Docker host; None when nothing is published."""
        return self.proxy_port + self.number(node) - 1 if self.proxy_port else None

    def meetings_at(self, node: Node) -> tuple[tuple[str, str], ...]:
        """The pairs that meet at its relay."""
        pairs = [tuple(sorted(link.between)) for link in self.relayed_links if node.name in link.through]
        return tuple((one, other) for one, other in sorted(pairs))

    # --- endpoints

    @cached_property
    def reach(self) -> Reach:
        """What gets in where."""
        hosts = {node.name: node.host for node in self.nodes}
        return Reach(hosts=hosts, gateways=frozenset(self.ingresses))

    def opens_tcp(self, node: Node, peer: Node) -> bool:
        """Whether a node's relay connects to a peer's: on one host both do, else one end, as addresses tell little.

        It is the end that begins over UDP as well, so that one end can move a link from one to the other.
        """
        if node.host == peer.host:
            return True
        there, here = self.reach.tcp(peer.name, node.name), self.reach.tcp(node.name, peer.name)
        if there and here and node.host.takes_udp != peer.host.takes_udp:
            return peer.host.takes_udp
        return there and (not here or self.number(node) > self.number(peer))

    def proxy_endpoint(self, node: Node, source: Node) -> str:
        """Where the relay of another reaches a node's."""
        ingress = self.ingresses.get(node.name)
        if ingress:
            return ingress.endpoint
        if node.host == source.host:
            return f"{self.proxy_address(node)}:{self.listen_port}"
        return f"{node.host.address}:{self.proxy_host_port(node)}"

    def relay_endpoint(self, node: Node, peer: Node) -> str:
        """Where a node sends what its relay shall carry to a peer."""
        return f"{self.proxy_address(node)}:{FIRST_PORT + self.number(peer)}"

    def echo_endpoint(self, node: Node, source: Node) -> tuple[str, int]:
        """Where a node's relay answers another that asks whether UDP gets there: elsewhere at a published port."""
        if node.host == source.host:
            return str(self.proxy_address(node)), ECHO_PORT
        return str(node.host.address), self.proxy_host_port(node) or 0

    def udp_endpoint(self, node: Node, peer: Node) -> str | None:
        """Where a node reaches a peer over UDP; None when nothing gets in there, and the peer must begin."""
        if node.host == peer.host:
            return f"{peer.underlay}:{self.listen_port}"
        return f"{peer.host.address}:{peer.host_port}" if peer.host.takes_udp else None

    def tcp_endpoint(self, node: Node, peer: Node) -> str | None:
        """Where a node reaches a peer by the relay beside itself; None when it never does, or the peer must begin."""
        link = self.link(node, peer)
        return self.relay_endpoint(node, peer) if link and (link.through or self.opens_tcp(node, peer)) else None

    def relays_from(self, node: Node, peer: Node) -> tuple[str, ...]:
        """The nodes to whose relays a node's relay connects for a peer."""
        link = self.link(node, peer)
        if link is None:
            return ()
        return link.through or ((peer.name,) if self.opens_tcp(node, peer) else ())

    def endpoint(self, node: Node, peer: Node) -> str | None:
        """Where a node sends what is for a peer, at first; None when it waits for the peer to begin."""
        link = self.link(node, peer)
        return self.tcp_endpoint(node, peer) if link and not link.auto else self.udp_endpoint(node, peer)

    def keepalive_to(self, node: Node, peer: Node) -> int:
        """Seconds between two keepalives; for a peer that cannot begin they open the way, and keep it open."""
        waits = self.endpoint(peer, node) is None or (node.host != peer.host and not node.host.takes_udp)
        return self.keepalive or (NAT_KEEPALIVE if waits else 0)

    def generation(self, node: Node) -> str:
        """The generation of a node's key."""
        return _generation(self.key_generation, node.key_generation)

    def epoch(self, node: Node) -> int:
        """The generation of a node's key as a number."""
        return self.key_generation * (MOST_GENERATIONS + 1) + node.key_generation

    @property
    def preshared_generation(self) -> str:
        """The generation of the preshared keys."""
        return _generation(self.key_generation, self.preshared_key_generation)

    def workloads_of(self, node: Node) -> tuple[Workload, ...]:
        """The workloads at its site."""
        return tuple(workload for workload in self.workloads if workload.node == node.name)


def _generation(of_all: int, own: int) -> str:
    return f"{of_all}.{own}" if own else str(of_all)


def proxy_name(node: str) -> str:
    """Name of the relay beside a node, without the mesh's prefix."""
    return f"mullvad-proxy-{node}"


def node_at(
    name: str,
    address: IPv4Address,
    ranges: tuple[IPv4Network, IPv4Network, IPv4Network],
    *,
    first_port: int | None,
) -> Node:
    """Place a node. Its underlay address, site and published port follow from its VPN address, so that none ever moves.

    `ranges` are those of the VPN, the underlay and the sites.
    """
    vpn, underlay, sites = ranges
    number = host_number(vpn, address)
    return Node(
        name=name,
        address=address,
        underlay=host(underlay, number + 1),
        site=subnet(sites, SITE_PREFIX, number),
        host_port=None if first_port is None else first_port + number - 1,
    )
