"""The mesh as one value: nodes, their sites and workloads, and who is whose peer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from vpn.model.access import Access
from vpn.model.addresses import host, host_number, subnet
from vpn.model.ingress import Ingress
from vpn.model.policy import MEMBERS, Expectation, Policy
from vpn.model.transport import ECHO_PORT, FIRST_PORT, RelayedLink

SITE_PREFIX = 24
INTERFACE = "wg0"
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
    """A checked mesh; every generated file and every resource is a view on it.

    Full mesh: every node is a peer of every other that it may talk to.
    """

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
    relayed_links: tuple[RelayedLink, ...] = ()
    """The pairs that speak over TCP, or can; all others speak UDP."""
    proxy_port: int = 0
    """TCP port on the Docker host of the relay beside the node with the first address; 0 publishes none."""
    ingresses: Mapping[str, Ingress] = field(default_factory=dict)
    """Gateways in front of relays, by the node's name."""

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
        return {node.name: node for node in self.nodes}[name]

    def peers_of(self, node: Node) -> tuple[Node, ...]:
        """The nodes it has a tunnel with, in the mesh's order."""
        return tuple(peer for peer in self.nodes if peer != node and self.policy.talk(node.name, peer.name))

    def admits_members(self, node: Node) -> bool:
        """Whether members have a tunnel to a node: something there is for them."""
        return self.access is not None and self.policy.reaches(MEMBERS, node.name)

    def address(self, name: str) -> IPv4Address:
        """Where a node or a workload is on the mesh. Raises KeyError."""
        places = {node.name: node.address for node in self.nodes}
        return (places | {workload.name: workload.address for workload in self.workloads})[name]

    def link(self, one: Node, other: Node) -> RelayedLink | None:
        """How two nodes speak over TCP; None if they never do."""
        pair = frozenset((one.name, other.name))
        return next((link for link in self.relayed_links if link.between == pair), None)

    @property
    def proxied(self) -> tuple[Node, ...]:
        """The nodes with a relay beside them: all, if it is published, else those that speak over TCP, or can."""
        named = {name for link in self.relayed_links for name in link.between}
        return tuple(node for node in self.nodes if self.proxy_port or node.name in named)

    def node_of(self, name: str) -> Node:
        """The node itself, or the one at whose site a workload is. Raises KeyError."""
        return self.node({workload.name: workload.node for workload in self.workloads}.get(name, name))

    def container(self, name: str) -> str:
        """Name of the container of a node or a workload."""
        return name if any(workload.name == name for workload in self.workloads) else f"{self.name}-{name}"

    def number(self, node: Node) -> int:
        """Which host of the VPN's range it is."""
        return host_number(self.vpn_range, node.address)

    def proxy_address(self, node: Node) -> IPv4Address:
        """The relay's address on the underlay, of which nodes have the lower half and relays the upper one."""
        return host(self.underlay_range, self.underlay_range.num_addresses // 2 + self.number(node))

    def proxy_host_port(self, node: Node) -> int | None:
        """TCP port of its relay on the Docker host; None when nothing is published."""
        return self.proxy_port + self.number(node) - 1 if self.proxy_port else None

    def proxy_endpoint(self, node: Node) -> str:
        """Where the relays of the others reach its relay."""
        ingress = self.ingresses.get(node.name)
        return ingress.endpoint if ingress else f"{self.proxy_address(node)}:{self.listen_port}"

    def relay_endpoint(self, node: Node, peer: Node) -> str:
        """Where a node sends what its relay shall carry to a peer."""
        return f"{self.proxy_address(node)}:{FIRST_PORT + self.number(peer)}"

    def echo_endpoint(self, node: Node) -> str:
        """Where the relay beside a node answers who asks whether UDP gets there."""
        return f"{self.proxy_address(node)}/{ECHO_PORT}"

    def endpoint(self, node: Node, peer: Node) -> str:
        """Where a node sends what is for a peer, at first."""
        link = self.link(node, peer)
        return self.relay_endpoint(node, peer) if link and not link.auto else f"{peer.underlay}:{self.listen_port}"

    def generation(self, node: Node) -> str:
        """The generation of a node's key."""
        return _generation(self.key_generation, node.key_generation)

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
    name: str, address: IPv4Address, ranges: tuple[IPv4Network, IPv4Network, IPv4Network], *, first_port: int | None
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
