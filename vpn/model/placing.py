"""Who gets which address: nodes in the mesh's ranges, workloads at the sites; who has one keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from vpn.model.addresses import assign, host, host_count
from vpn.model.reader import Reader, number_in
from vpn.model.topology import SITE_PREFIX, Node, Workload, node_at

MAX_PORT = 65535
MOST_PROXIES = 60_000  # each node's relay has a UDP port for every other
FIRST_WORKLOAD, LAST_WORKLOAD = 3, 254  # in a site: 1 is the gateway, 2 the node as Docker knows it

Entries = Sequence[Mapping[str, Any]]


def names_of(entries: Entries) -> list[str]:
    """Names as they stand there, right or wrong."""
    return [str(entry.get("name")) for entry in entries]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Those of the mesh."""

    vpn: IPv4Network
    underlay: IPv4Network
    sites: IPv4Network
    proxies: bool
    """Whether nodes have relays, which take the upper half of the underlay."""

    @property
    def room(self) -> int:
        """How many nodes fit; an underlay address is one above the VPN's, because the gateway comes first."""
        sites = 1 << (SITE_PREFIX - self.sites.prefixlen)
        underlay = (
            min(self.underlay.num_addresses // 2 - 2, MOST_PROXIES) if self.proxies else host_count(self.underlay) - 1
        )
        return max(min(host_count(self.vpn), underlay, sites - 1), 0)


@dataclass(frozen=True)
class Assignment:
    """Who wants a number, and which."""

    names: Sequence[str]
    fixed: Mapping[str, int]
    previous: Mapping[str, str]

    def within(self, network: IPv4Network, usable: range) -> dict[str, int]:
        """The number of everyone in a network, by name. Raises ValueError when they are more than are usable."""
        before = {name: number_in(network, address) for name, address in self.previous.items()}
        return assign(self.names, self.fixed, {name: number for name, number in before.items() if number}, usable)


def check_newcomers(reader: Reader, entries: Entries, previous: Mapping[str, str]) -> None:
    """Nobody is moved: an address that a node has is given to another only when that node is told where to go."""
    keep = {previous[str(entry.get("name"))]: entry.get("name") for entry in entries if _stays(entry, previous)}
    for index, entry in enumerate(entries):
        owner = keep.get(str(entry.get("address")))
        if owner is not None and owner != entry.get("name"):
            fix = f"choose another, or give {owner} an address of its own"
            reader.wrong(f"nodes[{index}].address", entry.get("address"), f"is the address of {owner}", fix)


def _stays(entry: Mapping[str, Any], previous: Mapping[str, str]) -> bool:
    return entry.get("address") is None and str(entry.get("name")) in previous


def fixed_numbers(reader: Reader, vpn: IPv4Network | None, entries: Entries) -> dict[str, int]:
    """The numbers that nodes are told to have, by their names."""
    fixed: dict[str, int] = {}
    for index, entry in enumerate(entries):
        path, value = f"nodes[{index}].address", entry.get("address")
        if value is None or vpn is None:
            continue
        number = number_in(vpn, value)
        owner = next((name for name, other in fixed.items() if other == number), None)
        if number is None:
            reader.wrong(path, value, f"is not a host of vpnRange {vpn}", "leave it out, or choose one of that range")
        elif owner:
            reader.wrong(path, value, f"is the address of {owner}", "leave it out, or choose another")
        else:
            fixed[str(entry.get("name"))] = number
    return fixed


def nodes_at(reader: Reader, ranges: Ranges, first_ports: Mapping[str, int], wanted: Assignment) -> tuple[Node, ...]:
    """All nodes with their addresses; `first_ports` are those of number 1, by their keys. Raises ConfigError."""
    try:
        numbers = wanted.within(ranges.vpn, range(1, ranges.room + 1))
    except ValueError:
        reader.wrong("nodes", len(wanted.names), f"are more than the {ranges.room} that fit", "widen the ranges")
        return ()
    for index, (name, number) in enumerate(numbers.items()):
        _check_number(reader, ranges, f"nodes[{index}].address", number)
        for key, port in first_ports.items():
            if port and port + number - 1 > MAX_PORT:
                reader.wrong(key, port, f"leaves no port for {name}", "start lower, or use 0 to publish none")
    reader.stop_if_wrong("nodes")
    return tuple(_node(ranges, first_ports["hostPort"], name, number) for name, number in numbers.items())


def _check_number(reader: Reader, ranges: Ranges, path: str, number: int) -> None:
    if number > ranges.room:
        address = str(host(ranges.vpn, number))
        reason = f"is number {number} of its range, but siteRange and underlayRange have room for {ranges.room}"
        reader.wrong(path, address, reason, "choose a lower address, or widen siteRange and underlayRange")


def _node(ranges: Ranges, host_port: int, name: str, number: int) -> Node:
    address = host(ranges.vpn, number)
    return node_at(name, address, (ranges.vpn, ranges.underlay, ranges.sites), first_port=host_port or None)


def workloads_at(
    reader: Reader, nodes: Sequence[Node], entries: Entries, previous: Mapping[str, str], reserved: Sequence[int]
) -> tuple[Workload, ...]:
    """All workloads at their nodes' sites; `reserved` numbers, and what is above, are none's. Raises ConfigError."""
    reader.stop_if_wrong("nodes", "workloads")
    usable = range(FIRST_WORKLOAD, min([*reserved, LAST_WORKLOAD + 1]))
    numbers: dict[str, int] = {}
    for node in nodes:
        names = names_of([entry for entry in entries if entry["node"] == node.name])
        try:
            numbers |= Assignment(names, {}, previous).within(node.site, usable)
        except ValueError:
            reader.wrong("workloads", len(names), f"are more than fit at {node.name} ({node.site})", "use another node")
    reader.stop_if_wrong("workloads")
    sites = {node.name: node.site for node in nodes}
    return tuple(_workload(entry, sites[entry["node"]], numbers[entry["name"]]) for entry in entries)


def _workload(entry: Mapping[str, Any], site: IPv4Network, number: int) -> Workload:
    return Workload(
        name=entry["name"],
        node=entry["node"],
        address=host(site, number),
        image=entry.get("image"),
        build=entry.get("build"),
        command=tuple(entry.get("command", [])),
    )
