"""From the raw configuration to a checked `Topology`, or to one report of everything that is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from vpn.model.addresses import assign, host, host_count, host_number
from vpn.model.problems import ConfigError, Problem
from vpn.model.topology import SITE_PREFIX, Node, Topology, Workload, node_at

KEYS = "name domain vpnRange underlayRange siteRange listenPort hostPort mtu keepalive keyGeneration nodes workloads".split()
NODE_KEYS = ("name", "address")
WORKLOAD_KEYS = ("name", "node", "image", "build", "command")

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
UNDERLAY_MTU = 1500
WIREGUARD_OVERHEAD = 60  # bytes over IPv4: IP 20, UDP 8, WireGuard 32 (WireGuard paper, 5.4.6)
FIRST_WORKLOAD = 3  # in a site: 1 is the gateway, 2 the node as Docker knows it

LABEL_FIX = "use 1 to 63 of a-z, 0-9 and '-', not '-' at an end (RFC 1123, 2.1)"


def parse(raw: Mapping[str, Any], previous: Mapping[str, str] | None = None) -> Topology:
    """Check a configuration as a whole.

    `previous` holds the addresses that nodes and workloads had in the last `up`, by name; who has one keeps it.
    Raises ConfigError with every mistake at once.
    """
    reader = _Reader(raw)
    basics = _basics(reader)
    node_entries = _entries(reader, "nodes", NODE_KEYS)
    workload_entries = _entries(reader, "workloads", WORKLOAD_KEYS)
    _check_names(reader, node_entries, workload_entries)
    reader.stop_if_wrong()
    _check_ranges(reader, basics)
    reader.stop_if_wrong()
    nodes = _nodes(reader, basics, node_entries, previous or {})
    reader.stop_if_wrong()
    workloads = _workloads(reader, nodes, workload_entries, previous or {})
    reader.stop_if_wrong()
    basics.pop("host_port")
    return Topology(**basics, nodes=nodes, workloads=workloads)


@dataclass
class _Reader:
    """Takes typed values out of the raw configuration and notes what is wrong on the way."""

    raw: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.check_keys("", self.raw, KEYS)

    def wrong(self, path: str, value: object, reason: str, fix: str) -> None:
        self.problems.append(Problem(path=path, value=value, reason=reason, fix=fix))

    def stop_if_wrong(self) -> None:
        if self.problems:
            raise ConfigError(self.problems)

    def check_keys(self, path: str, mapping: Mapping[str, Any], known: tuple[str, ...] | list[str]) -> None:
        for key in mapping:
            if key not in known:
                self.wrong(f"{path}{key}", mapping[key], "is not a known key", f"one of {', '.join(known)}")

    def text(self, path: str, value: Any, pattern: re.Pattern[str], fix: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.wrong(path, value, "is not a valid name", fix)
        return str(value)

    def number(self, key: str, low: int, high: int) -> int:
        value = self.raw.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, value, f"is not a whole number from {low} to {high}", f"set {key} to one, for example {low}")
        return low

    def network(self, key: str) -> IPv4Network:
        value = self.raw.get(key)
        try:
            return IPv4Network(value if isinstance(value, str) else "")
        except ValueError as error:
            self.wrong(key, value, f"is not an IPv4 range: {error}", "write it like 10.0.0.0/24, host bits zero")
            return IPv4Network("0.0.0.0/32")


def _basics(reader: _Reader) -> dict[str, Any]:
    domain = re.compile(rf"{LABEL.pattern}(\.{LABEL.pattern})*")
    return {
        "name": reader.text(
            "name", reader.raw.get("name"), re.compile(r"[a-z0-9][a-z0-9-]{0,30}"), "a-z, 0-9, '-', 31 at most"
        ),
        "domain": reader.text("domain", reader.raw.get("domain"), domain, "labels of a-z, 0-9, '-' joined by dots"),
        "vpn_range": reader.network("vpnRange"),
        "underlay_range": reader.network("underlayRange"),
        "site_range": reader.network("siteRange"),
        "listen_port": reader.number("listenPort", 1, 65535),
        "host_port": reader.number("hostPort", 0, 65535),
        "mtu": reader.number("mtu", 576, UNDERLAY_MTU - WIREGUARD_OVERHEAD),
        "keepalive": reader.number("keepalive", 0, 65535),
        "key_generation": reader.number("keyGeneration", 1, 1_000_000),
    }


def _entries(reader: _Reader, key: str, known: tuple[str, ...]) -> list[Mapping[str, Any]]:
    value = reader.raw.get(key) or []
    if not isinstance(value, list):
        reader.wrong(key, value, "is not a list", f"write {key} as a list of entries with {', '.join(known)}")
        return []
    entries: list[Mapping[str, Any]] = []
    for index, entry in enumerate(value):
        if isinstance(entry, Mapping):
            reader.check_keys(f"{key}[{index}].", entry, known)
            entries.append(entry)
        else:
            reader.wrong(f"{key}[{index}]", entry, "is not a mapping", "write it like '- name: node-c'")
    return entries


def _check_names(reader: _Reader, nodes: list[Mapping[str, Any]], workloads: list[Mapping[str, Any]]) -> None:
    if not nodes and "nodes" not in {problem.path for problem in reader.problems}:
        reader.wrong("nodes", reader.raw.get("nodes"), "has no node", "add one, like '- name: node-a'")
    first: dict[str, str] = {}
    for kind, entries in (("nodes", nodes), ("workloads", workloads)):
        for index, entry in enumerate(entries):
            path = f"{kind}[{index}].name"
            name = reader.text(path, entry.get("name"), LABEL, LABEL_FIX)
            if name in first:
                reader.wrong(
                    path, name, f"is also the name of {first[name]}", "give each node and workload its own name"
                )
            first.setdefault(name, path.removesuffix(".name"))
    _check_workloads(reader, {str(node.get("name")) for node in nodes}, workloads)


def _check_workloads(reader: _Reader, nodes: set[str], workloads: list[Mapping[str, Any]]) -> None:
    for index, entry in enumerate(workloads):
        path = f"workloads[{index}]"
        if entry.get("node") not in nodes:
            reader.wrong(f"{path}.node", entry.get("node"), "is not a node", f"one of {', '.join(sorted(nodes))}")
        sources = [key for key in ("image", "build") if isinstance(entry.get(key), str) and entry[key]]
        if len(sources) != 1:
            reader.wrong(path, dict(entry), "has not just one source", "give either image (a name) or build (a folder)")
        command = entry.get("command", [])
        if not isinstance(command, list) or not all(isinstance(word, str) and word for word in command):
            reader.wrong(
                f"{path}.command", command, "is not a list of words", "write it like ['nginx', '-g', 'daemon off;']"
            )


def _check_ranges(reader: _Reader, basics: Mapping[str, Any]) -> None:
    ranges = {
        "vpnRange": basics["vpn_range"],
        "underlayRange": basics["underlay_range"],
        "siteRange": basics["site_range"],
    }
    keys = list(ranges)
    for index, key in enumerate(keys):
        for other in keys[:index]:
            if ranges[key].overlaps(ranges[other]):
                reader.wrong(
                    key, str(ranges[key]), f"overlaps {other} {ranges[other]}", "choose ranges that share no address"
                )
    if ranges["siteRange"].prefixlen > SITE_PREFIX - 1:
        reader.wrong(
            "siteRange", str(ranges["siteRange"]), "has no room for two sites", f"a site is a /{SITE_PREFIX}; use a /16"
        )


def _nodes(
    reader: _Reader, basics: Mapping[str, Any], entries: list[Mapping[str, Any]], previous: Mapping[str, str]
) -> tuple[Node, ...]:
    vpn: IPv4Network = basics["vpn_range"]
    names = [str(entry["name"]) for entry in entries]
    fixed = _fixed_addresses(reader, vpn, entries)
    reader.stop_if_wrong()
    room = _room(basics)
    before = {name: host_number(vpn, address) for name, address in _addresses(previous, vpn).items()}
    try:
        numbers = assign(names, fixed, before, range(1, room + 1))
    except ValueError:
        reader.wrong(
            "nodes", len(names), f"are more nodes than the {room} the ranges have room for", "widen the ranges"
        )
        return ()
    _check_numbers(reader, basics, numbers, room)
    reader.stop_if_wrong()
    return tuple(_node(basics, name, numbers[name]) for name in names)


def _room(basics: Mapping[str, Any]) -> int:
    """How many nodes fit into every range; an underlay address is one above the VPN's, for the gateway comes first."""
    sites = 1 << (SITE_PREFIX - basics["site_range"].prefixlen)
    return int(min(host_count(basics["vpn_range"]), host_count(basics["underlay_range"]) - 1, sites - 1))


def _node(basics: Mapping[str, Any], name: str, number: int) -> Node:
    return node_at(
        name,
        host(basics["vpn_range"], number),
        vpn=basics["vpn_range"],
        underlay=basics["underlay_range"],
        sites=basics["site_range"],
        first_port=basics["host_port"] or None,
    )


def _check_numbers(reader: _Reader, basics: Mapping[str, Any], numbers: Mapping[str, int], room: int) -> None:
    for index, (name, number) in enumerate(numbers.items()):
        path, address = f"nodes[{index}].address", str(host(basics["vpn_range"], number))
        if number > room:
            reader.wrong(
                path, address, f"needs site or underlay number {number} of {room}", "widen siteRange or underlayRange"
            )
        if basics["host_port"] and basics["host_port"] + number - 1 > 65535:
            reader.wrong(
                "hostPort", basics["host_port"], f"leaves no port for {name}", "start lower, or 0 to publish none"
            )


def _fixed_addresses(reader: _Reader, vpn: IPv4Network, entries: list[Mapping[str, Any]]) -> dict[str, int]:
    fixed: dict[str, int] = {}
    owners: dict[int, str] = {}
    for index, entry in enumerate(entries):
        if entry.get("address") is None:
            continue
        path, value = f"nodes[{index}].address", entry["address"]
        number = _number_in(vpn, value)
        if number is None:
            reader.wrong(
                path, value, f"is not a host of vpnRange {vpn}", "leave it out, or choose one inside the range"
            )
        elif number in owners:
            reader.wrong(path, value, f"is taken by {owners[number]}", "choose another, or leave it out")
        else:
            owners[number] = fixed_name = str(entry["name"])
            fixed[fixed_name] = number
    return fixed


def _number_in(network: IPv4Network, value: object) -> int | None:
    try:
        number = host_number(network, IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        return None
    return number if 1 <= number <= host_count(network) else None


def _addresses(previous: Mapping[str, str], network: IPv4Network) -> dict[str, IPv4Address]:
    return {name: IPv4Address(text) for name, text in previous.items() if _number_in(network, text) is not None}


def _workloads(
    reader: _Reader, nodes: tuple[Node, ...], entries: list[Mapping[str, Any]], previous: Mapping[str, str]
) -> tuple[Workload, ...]:
    placed: dict[str, Workload] = {}
    for node in nodes:
        here = [entry for entry in entries if entry["node"] == node.name]
        numbers = _workload_numbers(reader, node, [str(entry["name"]) for entry in here], previous)
        placed |= {str(entry["name"]): _workload(entry, node, numbers[str(entry["name"])]) for entry in here if numbers}
    return tuple(placed[str(entry["name"])] for entry in entries if str(entry["name"]) in placed)


def _workload_numbers(reader: _Reader, node: Node, names: list[str], previous: Mapping[str, str]) -> dict[str, int]:
    before = {name: host_number(node.site, address) for name, address in _addresses(previous, node.site).items()}
    try:
        return assign(names, {}, before, range(FIRST_WORKLOAD, host_count(node.site) + 1))
    except ValueError:
        reader.wrong(
            "workloads", len(names), f"are too many at the site of {node.name} ({node.site})", "use another node"
        )
        return {}


def _workload(entry: Mapping[str, Any], node: Node, number: int) -> Workload:
    return Workload(
        name=str(entry["name"]),
        node=node.name,
        address=host(node.site, number),
        image=entry.get("image"),
        build=entry.get("build"),
        command=tuple(entry.get("command", [])),
    )
