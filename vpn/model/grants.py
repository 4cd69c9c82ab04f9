"""The policy in addresses: which packets a rule lets pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from vpn.model.monitoring import METRICS_PORT
from vpn.model.policy import MEMBERS, Expectation, Ports, Rule, Service
from vpn.model.postgres import METRICS_PORTS
from vpn.model.topology import Node, Topology

DNS = (Ports(protocol="tcp", first=53, last=53), Ports(protocol="udp", first=53, last=53))


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Connections from somewhere to somewhere."""

    source: IPv4Network
    target: IPv4Network
    ports: Ports | None
    """None: everything."""


def grants(topology: Topology, node: Node | None = None) -> tuple[Grant, ...]:
    """All of a mesh, or those that let a node send or get something; sorted, and no two share anything."""
    return _merged(_Compiler(topology, node).found())


class _Compiler:
    """Goes from names to addresses; of one node only what concerns it, for a mesh has many pairs."""

    def __init__(self, topology: Topology, node: Node | None) -> None:
        self._topology = topology
        self._only = node.name if node else None
        self._places = {one.name: [IPv4Network(one.address)] for one in topology.nodes}
        for workload in topology.workloads:
            self._places[workload.node].append(IPv4Network(workload.address))
        if topology.monitoring:  # as a workload: it shows a page, and tells of alerts
            self._places[topology.monitoring.node].append(IPv4Network(topology.monitoring.address))

    def found(self) -> Iterator[Grant]:
        """Every grant, some more than once."""
        yield from self._for_members()
        yield from self._for_cluster()
        yield from self._for_monitoring()
        if self._topology.policy.is_open:
            yield from self._between_all()
            return
        for rule in self._topology.policy.rules:
            for name in rule.sources - {MEMBERS}:
                targets, services = self._targets(rule, name)
                for source in self._places[name] if targets or services else ():
                    yield from self._from(source, rule, targets, services)

    def _between_all(self) -> Iterator[Grant]:
        ranges = (self._topology.vpn_range, self._topology.site_range)
        for source in ranges:
            for target in ranges:
                yield Grant(source=source, target=target, ports=None)

    def _for_cluster(self) -> Iterator[Grant]:
        """What a PostgreSQL cluster needs among its own."""
        for flow in self._topology.postgres.flows() if self._topology.postgres else ():
            source, target = flow.source, flow.target
            if self._only is None or self._topology.passes(self._only, source.node, target.node):
                yield Grant(source=IPv4Network(source.address), target=IPv4Network(target.address), ports=flow.ports)

    def _for_monitoring(self) -> Iterator[Grant]:
        """Questions of how nodes and databases are."""
        topology, monitoring = self._topology, self._topology.monitoring
        if monitoring is None:
            return
        asked = [(node.name, node.address, METRICS_PORT) for node in topology.nodes]
        databases = topology.postgres.places if topology.postgres else ()
        told = [place for place in databases if place.kind in METRICS_PORTS]
        asked += [(place.node, place.address, METRICS_PORTS[place.kind]) for place in told]
        for node, address, port in asked:
            if self._only is None or topology.passes(self._only, monitoring.node, node):
                ports = Ports(protocol="tcp", first=port, last=port)
                yield Grant(source=IPv4Network(monitoring.address), target=IPv4Network(address), ports=ports)

    def _for_members(self) -> Iterator[Grant]:
        """What their rules say, and the names of the mesh."""
        if not self._topology.access:
            return
        source = self._topology.access.member_range
        for rule in self._topology.policy.rules:
            if MEMBERS in rule.sources:
                yield from self._from(source, rule, *self._targets(rule, MEMBERS))
        for node in self._topology.nodes:
            if self._only in (None, node.name) and self._topology.admits_members(node):
                for ports in DNS:
                    yield Grant(source=source, target=IPv4Network(node.address), ports=ports)

    def _targets(self, rule: Rule, source: str) -> tuple[Iterable[str], Iterable[Service]]:
        """Nodes and services of a rule; without those that have nothing to do with the one node."""
        services = [one for one in self._topology.policy.services if one.name in rule.services]
        if self._only in (None, source):
            return rule.targets, services
        targets = [name for name in rule.targets if self._comes_by(source, name)]
        return targets, [one for one in services if self._comes_by(source, one.node)]

    def _comes_by(self, source: str, target: str) -> bool:
        """Whether packets between two come by the one node; members have a tunnel of their own to every target."""
        if self._only is None or source == MEMBERS:
            return self._only in (None, target)
        return self._topology.passes(self._only, source, target)

    def _from(
        self, source: IPv4Network, rule: Rule, nodes: Iterable[str], services: Iterable[Service]
    ) -> Iterator[Grant]:
        for target in (place for name in nodes for place in self._places[name]):
            for ports in rule.ports or (None,):
                yield Grant(source=source, target=target, ports=ports)
        for service in services:
            for ports in service.ports:
                yield Grant(source=source, target=IPv4Network(self._topology.address(service.at)), ports=ports)


def _merged(found: Iterable[Grant]) -> tuple[Grant, ...]:
    """Without what is within another: nft(8) wants the elements of a set to share nothing."""
    pairs: dict[tuple[IPv4Network, IPv4Network], set[Ports | None]] = {}
    for grant in found:
        pairs.setdefault((grant.source, grant.target), set()).add(grant.ports)
    return tuple(
        Grant(source=source, target=target, ports=ports)
        for (source, target), several in sorted(pairs.items())
        for ports in ([None] if None in several else _joined(sorted(ports for ports in several if ports)))
    )


def _joined(several: Iterable[Ports]) -> list[Ports]:
    """Sorted ports, with what overlaps or touches made one."""
    joined: list[Ports] = []
    for ports in several:
        last = joined[-1] if joined else None
        if last and last.protocol == ports.protocol and ports.first <= last.last + 1:
            joined[-1] = Ports(protocol=ports.protocol, first=last.first, last=max(last.last, ports.last))
        else:
            joined.append(ports)
    return joined


def broken(topology: Topology, expectations: Iterable[Expectation]) -> Iterator[tuple[Expectation, Ports]]:
    """Expectations that the policy does not meet, with the ports where it does not."""
    known: dict[str, tuple[Grant, ...]] = {}
    for one in expectations:
        node = topology.node_of(one.at)
        if node.name not in known:
            known[node.name] = grants(topology, node)
        granted = known[node.name]
        for ports in one.ports:
            if not _meets(topology, granted, one, ports):
                yield one, ports


def _meets(topology: Topology, granted: Iterable[Grant], one: Expectation, ports: Ports) -> bool:
    """All ports pass if they are expected to, and else none does."""
    if one.allow:
        return allowed(topology, granted, one.source, one.at, ports)
    return not any(_share(grant.ports, ports) for grant in _between(topology, granted, one.source, one.at))


def allowed(topology: Topology, granted: Iterable[Grant], source: str, at: str, ports: Ports) -> bool:
    """Whether a node, a workload or MEMBERS may open connections to all of these ports of a node or workload."""
    return any(_covers(grant.ports, ports) for grant in _between(topology, granted, source, at))


def _between(topology: Topology, granted: Iterable[Grant], source: str, at: str) -> Iterator[Grant]:
    if source == MEMBERS and not topology.access:
        return
    members = topology.access.member_range if topology.access else None
    origin = members if source == MEMBERS and members else IPv4Network(topology.address(source))
    target = IPv4Network(topology.address(at))
    for grant in granted:
        if origin.subnet_of(grant.source) and target.subnet_of(grant.target):
            yield grant


def _covers(granted: Ports | None, asked: Ports) -> bool:
    return granted is None or (
        granted.protocol == asked.protocol and granted.first <= asked.first and asked.last <= granted.last
    )


def _share(granted: Ports | None, asked: Ports) -> bool:
    return granted is None or (
        granted.protocol == asked.protocol and granted.first <= asked.last and asked.first <= granted.last
    )
