"""Who may talk to whom: rules between nodes, members and services, before anybody has an address."""

from collections.abc import Iterable
from dataclasses import dataclass

MEMBERS = "members"  # stands for all members in a rule


@dataclass(frozen=True, order=True, kw_only=True)
class Ports:
    """Some ports of one protocol."""

    protocol: str
    """tcp or udp."""
    first: int
    last: int

    def __str__(self) -> str:
        """As they are written in a configuration."""
        return f"{self.protocol}/{self.range}"

    @property
    def range(self) -> str:
        """The ports alone."""
        return str(self.first) if self.last == self.first else f"{self.first}-{self.last}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something at a node that has a name of its own, and the ports where it answers."""

    name: str
    at: str
    """Node or workload."""
    node: str
    """The node itself, or the one at whose site the workload is."""
    ports: tuple[Ports, ...]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Lets every source open connections to every target. A node stands for itself and its workloads."""

    sources: frozenset[str]
    """Nodes, and MEMBERS."""
    targets: frozenset[str]
    """Nodes."""
    services: frozenset[str]
    ports: tuple[Ports, ...]
    """At the nodes; none means everything. A service has its own."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """All rules; what none of them lets pass is denied. Replies pass, as does a ping of what one may reach at all."""

    rules: tuple[Rule, ...]
    services: tuple[Service, ...]
    is_open: bool
    """Whether the configuration has no rules: all between nodes, and members to services only."""
    own_pairs: frozenset[frozenset[str]] = frozenset()
    """Nodes between which the mesh has traffic of its own, whatever the rules say."""

    def service(self, name: str) -> Service:
        """The service of a name. Raises KeyError."""
        return {service.name: service for service in self.services}[name]

    def reaches(self, source: str, node: str) -> bool:
        """Whether a node, or MEMBERS, may open any connection to a node or what is behind it."""
        at_node = {service.name for service in self.services if service.node == node}
        return any(source in rule.sources and (node in rule.targets or rule.services & at_node) for rule in self.rules)

    def talk(self, one: str, other: str) -> bool:
        """Whether either of two nodes may open a connection to the other: only then do they have a tunnel."""
        return frozenset((one, other)) in self.own_pairs or self.reaches(one, other) or self.reaches(other, one)


def open_policy(nodes: Iterable[str], services: tuple[Service, ...]) -> Policy:
    """What holds without rules."""
    everybody = frozenset(nodes)
    between = Rule(sources=everybody, targets=everybody, services=frozenset(), ports=())
    to_services = Rule(
        sources=frozenset({MEMBERS}),
        targets=frozenset(),
        services=frozenset(service.name for service in services),
        ports=(),
    )
    return Policy(rules=(between, to_services), services=services, is_open=True)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a configuration says that its rules do; a policy that does otherwise is a mistake."""

    path: str
    """Where it stands in the configuration."""
    source: str
    """Node, workload or MEMBERS."""
    target: str
    """Node, workload or service."""
    at: str
    """The node or workload that it comes down to."""
    ports: tuple[Ports, ...]
    allow: bool
