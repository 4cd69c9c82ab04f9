"""The policy in addresses: which packets a rule lets pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from vpn.model.policy import MEMBERS, Expectation, Ports, Rule
from vpn.model.topology import Topology

DNS = (Ports(protocol="tcp", first=53, last=53), Ports(protocol="udp", first=53, last=53))


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Connections from somewhere to somewhere."""

    source: IPv4Network
    target: IPv4Network
    ports: Ports | None
    """None: everything."""


def grants(topology: Topology) -> tuple[Grant, ...]:
    """All of a mesh, sorted, no two of which say the same."""
    if topology.policy.is_open:
        found = {*_between_all(topology), *_for_members(topology)}
    else:
        found = {grant for rule in topology.policy.rules for grant in _of_rule(topology, rule)}
        found |= set(_for_members(topology))
    return _merged(found)


def _between_all(topology: Topology) -> Iterator[Grant]:
    ranges = (topology.vpn_range, topology.site_range)
    for source in ranges:
        for target in ranges:
            yield Grant(source=source, target=target, ports=None)


def _for_members(topology: Topology) -> Iterator[Grant]:
    """What their rules say, and the names of the mesh."""
    if not topology.access:
        return
    for rule in topology.policy.rules:
        if MEMBERS in rule.sources:
            yield from _from(topology, topology.access.member_range, rule)
    for node in topology.nodes:
        if topology.admits_members(node):
            for ports in DNS:
                yield Grant(source=topology.access.member_range, target=IPv4Network(node.address), ports=ports)


def _of_rule(topology: Topology, rule: Rule) -> Iterator[Grant]:
    for name in rule.sources - {MEMBERS}:
        for source in addresses(topology, name):
            yield from _from(topology, source, rule)


def _from(topology: Topology, source: IPv4Network, rule: Rule) -> Iterator[Grant]:
    for name in rule.targets:
        for target in addresses(topology, name):
            for ports in rule.ports or (None,):
                yield Grant(source=source, target=target, ports=ports)
    for name in rule.services:
        service = topology.policy.service(name)
        for ports in service.ports:
            yield Grant(source=source, target=IPv4Network(topology.address(service.at)), ports=ports)


def addresses(topology: Topology, node: str) -> tuple[IPv4Network, ...]:
    """A node's own, and those of its workloads."""
    own = topology.node(node)
    return tuple(map(IPv4Network, (own.address, *(workload.address for workload in topology.workloads_of(own)))))


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


def allowed(topology: Topology, granted: Iterable[Grant], source: str, at: str, ports: Ports) -> bool:
    """Whether a node, a workload or MEMBERS may open connections to all of these ports of a node or workload."""
    if source == MEMBERS:
        origin = topology.access.member_range if topology.access else None
    else:
        origin = IPv4Network(topology.address(source))
    target = IPv4Network(topology.address(at))
    return origin is not None and any(
        origin.subnet_of(grant.source) and target.subnet_of(grant.target) and _covers(grant.ports, ports)
        for grant in granted
    )


def _covers(granted: Ports | None, asked: Ports) -> bool:
    return granted is None or (
        granted.protocol == asked.protocol and granted.first <= asked.first and asked.last <= granted.last
    )


def broken(topology: Topology, expectations: Iterable[Expectation]) -> Iterator[tuple[Expectation, Ports]]:
    """Expectations that the policy does not meet, with the ports where it does not."""
    granted = grants(topology)
    for one in expectations:
        for ports in one.ports:
            if allowed(topology, granted, one.source, one.at, ports) != one.allow:
                yield one, ports
