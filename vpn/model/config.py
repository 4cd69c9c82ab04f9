"""From the raw configuration to a checked `Topology`, or to one report of everything that is wrong with it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

from vpn.model.access import AccessReader
from vpn.model.addresses import assign, host, host_count
from vpn.model.grants import broken
from vpn.model.guest_check import GuestCheck, check_members, of_guests
from vpn.model.hosts import HostReader, Reach
from vpn.model.ingress import IngressReader
from vpn.model.parts import PartsReader
from vpn.model.policy_reader import PolicyReader
from vpn.model.postgres_reader import check_places
from vpn.model.reader import LABEL, LABEL_FIX, Reader, number_in
from vpn.model.shape import FULL, ShapeReader, tunnels
from vpn.model.topology import (
    CARRIER,
    CHAIN,
    GATE,
    MOST_GENERATIONS,
    SITE_PREFIX,
    Node,
    Topology,
    Workload,
    node_at,
    proxy_name,
)
from vpn.model.transport import MIN_MTU, TransportReader

TEXT_KEYS = ("name", "domain", "vpnRange", "underlayRange", "siteRange", "topology", "hub", "transport")
NUMBER_KEYS = ("listenPort", "hostPort", "proxyPort", "mtu", "keepalive", "keyGeneration", "presharedKeyGeneration")
MESH_KEYS = ("hosts", "nodes", "gateways", "relays", "links")
PART_KEYS = ("workloads", "services", "groups", "rules", "tests", "access", "postgres", "monitoring")
KEYS = (*TEXT_KEYS, *NUMBER_KEYS, *MESH_KEYS, *PART_KEYS)
DEFAULTS: Mapping[str, Any] = {
    "name": "wireguard",
    "domain": "vpn.dstack",
    "vpnRange": "10.0.0.0/24",
    "underlayRange": "172.20.0.0/16",
    "siteRange": "10.64.0.0/16",
    "topology": FULL,
    "hub": "",
    "gateways": [],
    "relays": [],
    "transport": "udp",
    "listenPort": 51820,
    "hostPort": 51820,
    "proxyPort": 0,
    "mtu": 1420,
    "keepalive": 25,
    "keyGeneration": 1,
    "presharedKeyGeneration": 0,
    "hosts": [],
    "links": [],
    "workloads": [],
    "services": [],
    "groups": {},
    "rules": [],
    "tests": [],
    "access": {},
    "postgres": {},
    "monitoring": {},
}
NODE_KEYS = ("name", "host", "address", "keyGeneration", "ingress")
WORKLOAD_KEYS = ("name", "node", "image", "build", "command")

PREFIX = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
DOMAIN = re.compile(rf"(?=.{{1,189}}$){LABEL.pattern}(\.{LABEL.pattern})*")  # with a label before it 253 (RFC 1035)
MAX_PORT = 65535
UNDERLAY_MTU = 1500
WIREGUARD_OVERHEAD = 60  # bytes over IPv4: IP 20, UDP 8, WireGuard 32 (WireGuard paper, 5.4.6)
OWN_CONTAINERS = {CARRIER: "the config carrier", GATE: "the access gate", CHAIN: "the embedded chain"}  # <name>-<key>
MOST_PROXIES = 60_000  # each node's relay has a UDP port for every other
FIRST_WORKLOAD, LAST_WORKLOAD = 3, 254  # in a site: 1 is the gateway, 2 the node as Docker knows it

Entries = Sequence[Mapping[str, Any]]


def parse(
    raw: Mapping[str, Any],
    previous: Mapping[str, str] | None = None,
    can_build: Callable[[str], bool] = lambda _: True,
    engines: Mapping[str | None, str] | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> Topology:
    """Check a configuration as a whole.

    What it leaves out is as in DEFAULTS. `previous` holds the addresses that nodes and workloads had in the last `up`,
    by name; who has one keeps it. `can_build` tells whether an image can be built from a folder. `engines`
    tells what the hosts were called in the last `up`, by the address of their engine; they keep their names. `cluster`
    is what the last `up` said of the PostgreSQL cluster.
    Raises ConfigError with every mistake at once.
    """
    raw = {**DEFAULTS, **raw}
    reader = Reader(raw)
    reader.check_keys("", raw, KEYS)
    values = _plain_values(reader)
    host_port = reader.number("hostPort", 0, MAX_PORT)
    networks = {key: reader.network(key) for key in ("vpnRange", "underlayRange", "siteRange")}
    node_entries, workload_entries = reader.entries("nodes", NODE_KEYS), reader.entries("workloads", WORKLOAD_KEYS)
    access_reader = AccessReader.of(reader)
    _check_ranges(reader, networks, access_reader)
    _check_names(reader, node_entries, workload_entries)
    _check_workloads(reader, node_entries, workload_entries)
    _check_folders(reader, workload_entries, can_build)
    names = list(dict.fromkeys(_names(node_entries)))
    parts_reader = PartsReader.of(reader, names)
    _check_container_names(reader, str(raw.get("name")), node_entries, workload_entries, parts_reader.own_names())
    fixed = _fixed_numbers(reader, networks["vpnRange"], node_entries)
    _check_newcomers(reader, node_entries, previous or {})
    generations = _node_generations(reader, node_entries)
    access = access_reader.access() if access_reader else None
    proxy_port = reader.number("proxyPort", 0, MAX_PORT)
    hosts = HostReader(reader).by_node(HostReader(reader).hosts(engines or {}), node_entries)
    has_guests = any(host.guest for host in hosts.values())
    shape = ShapeReader(reader, hosts).shape()
    places = _places(workload_entries) | parts_reader.places()
    policy, expectations = PolicyReader(
        reader=reader, nodes=names, workloads=places, own=parts_reader.own_names(), has_members=bool(access)
    ).read()
    parts = parts_reader.parts(hosts, cluster or {})
    policy = replace(policy, own_pairs=parts.pairs(names))
    talking = [pair for pair in combinations(names, 2) if policy.talk(*pair)]
    reach = Reach(hosts=hosts, gateways=_with_gateway(node_entries))
    relayed_links = TransportReader(reader, reach).links(tunnels(shape, talking), values["mtu"])
    relayed = {name for link in relayed_links for name in (*link.between, *link.through)}
    ingresses = IngressReader(reader).ingresses(node_entries, relayed) | of_guests(hosts, values["listen_port"])
    if has_guests:
        GuestCheck(reader, hosts).everything(networks, node_entries, workload_entries)
    reader.stop_if_wrong("nodes", *networks)
    vpn, underlay, sites = (network for network in networks.values() if network)
    ranges = _Ranges(vpn=vpn, underlay=underlay, sites=sites, proxies=bool(relayed_links or proxy_port or has_guests))
    nodes = _nodes(
        reader,
        ranges,
        {"hostPort": host_port, "proxyPort": proxy_port},
        _Assignment(_names(node_entries), fixed, previous or {}),
    )
    nodes = tuple(replace(node, key_generation=generations[node.name], host=hosts[node.name]) for node in nodes)
    workloads = _workloads(reader, nodes, workload_entries, previous or {}, parts.numbers)
    reader.stop_if_wrong()
    topology = Topology(
        **values,
        vpn_range=ranges.vpn,
        underlay_range=ranges.underlay,
        site_range=ranges.sites,
        nodes=nodes,
        workloads=workloads,
        policy=policy,
        expectations=expectations,
        access=access,
        shape=shape,
        relayed_links=relayed_links,
        proxy_port=proxy_port,
        ingresses=ingresses,
        **parts.at({node.name: node.site for node in nodes}),
    )
    _check_whole(reader, topology, cluster or {})
    return topology


@dataclass(frozen=True, kw_only=True)
class _Ranges:
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
class _Assignment:
    """Who wants a number, and which."""

    names: Sequence[str]
    fixed: Mapping[str, int]
    previous: Mapping[str, str]

    def within(self, network: IPv4Network, usable: range) -> dict[str, int]:
        before = {name: number_in(network, address) for name, address in self.previous.items()}
        return assign(self.names, self.fixed, {name: number for name, number in before.items() if number}, usable)


def _places(workloads: Entries) -> dict[str, str]:
    """The node of every workload."""
    return {str(entry.get("name")): str(entry.get("node")) for entry in workloads}


def _with_gateway(nodes: Entries) -> frozenset[str]:
    return frozenset(str(entry.get("name")) for entry in nodes if entry.get("ingress") is not None)


def _check_whole(reader: Reader, topology: Topology, cluster: Mapping[str, Any]) -> None:
    _check_published(reader, topology)
    check_members(reader, topology)
    _check_expectations(reader, topology)
    check_places(reader, topology.postgres, cluster.get("addresses", {}))
    reader.stop_if_wrong()


def _check_expectations(reader: Reader, topology: Topology) -> None:
    for one, ports in broken(topology, topology.expectations):
        what = f"{one.source} to {one.target}, {ports}"
        reason, fix = "is allowed", "change the rules so that none lets it pass, or expect: allow"
        if one.allow:
            reason, fix = "is denied", "add a rule that lets it pass, or expect: deny"
        reader.wrong(one.path, what, reason, fix)


def _check_published(reader: Reader, topology: Topology) -> None:
    """What other hosts shall reach must be published; an embedded chain cannot be."""
    apart = [(node, peer) for node in topology.nodes for peer in topology.peers_of(node) if node.host != peer.host]
    links = {(node, peer): topology.link(node, peer) for node, peer in apart}
    over_udp = [pair for pair, link in links.items() if link is None or link.auto]
    udp = {peer.host.name for node, peer in over_udp if topology.udp_endpoint(node, peer)}
    if udp and not reader.raw["hostPort"]:
        fix = "set the first UDP port to publish, or inbound: none"
        reader.wrong("hostPort", 0, f"publishes nothing, but other hosts reach {', '.join(sorted(udp))}", fix)
    at_gateways = {*topology.ingresses, *(node.name for node in topology.guests)}
    relays = {name for node, peer in apart for name in topology.relays_from(node, peer)} - at_gateways
    relays |= {peer.name for (_, peer), link in links.items() if link and link.auto}  # it asks there about UDP
    if relays and not topology.proxy_port:
        fix = "set the first TCP port to publish"
        reader.wrong("proxyPort", 0, f"publishes no relay, but others reach {', '.join(sorted(relays))} over TCP", fix)
    if topology.access and topology.access.embedded and len(topology.engines) > 1:
        fix = "set access.rpcUrl and access.contractAddress: a gate on every host asks a real chain"
        reader.wrong("access.rpcUrl", None, "is missing: the embedded chain answers on one host only", fix)


def _names(entries: Entries) -> list[str]:
    return [str(entry.get("name")) for entry in entries]


def _plain_values(reader: Reader) -> dict[str, Any]:
    raw = reader.raw
    return {
        "name": reader.text("name", raw.get("name"), PREFIX, "use 1 to 31 of a-z, 0-9 and '-'"),
        "domain": reader.text("domain", raw.get("domain"), DOMAIN, "use labels of a-z, 0-9 and '-', joined by dots"),
        "listen_port": reader.number("listenPort", 1, MAX_PORT),
        "mtu": reader.number("mtu", MIN_MTU, UNDERLAY_MTU - WIREGUARD_OVERHEAD),
        "keepalive": reader.number("keepalive", 0, MAX_PORT),
        "key_generation": reader.number("keyGeneration", 1, MOST_GENERATIONS),
        "preshared_key_generation": reader.number("presharedKeyGeneration", 0, MOST_GENERATIONS),
    }


def _check_ranges(reader: Reader, networks: Mapping[str, IPv4Network | None], access: AccessReader | None) -> None:
    of_access = {f"{access.reader.prefix}{key}": network for key, network in access.ranges.items()} if access else {}
    known = [(key, network) for key, network in {**networks, **of_access}.items() if network]
    for (other, there), (key, network) in combinations(known, 2):
        if network.overlaps(there):
            reader.wrong(key, str(network), f"overlaps {other} {there}", "choose ranges that share no address")
    sites = networks["siteRange"]
    if sites and sites.prefixlen >= SITE_PREFIX:
        reader.wrong("siteRange", str(sites), "has no room for sites", f"a site is a /{SITE_PREFIX}: use a /16")


def _check_names(reader: Reader, nodes: Entries, workloads: Entries) -> None:
    if not nodes and isinstance(reader.raw.get("nodes"), list | type(None)):
        reader.wrong("nodes", reader.raw.get("nodes"), "names no node", "add one, like '- name: node-a'")
    first: dict[str, str] = {}
    for kind, entries in (("nodes", nodes), ("workloads", workloads)):
        for index, entry in enumerate(entries):
            path, name = f"{kind}[{index}]", reader.text(f"{kind}[{index}].name", entry.get("name"), LABEL, LABEL_FIX)
            if name in first:
                reader.wrong(f"{path}.name", name, f"is also the name of {first[name]}", "give each its own name")
            first.setdefault(name, path)


def _check_container_names(
    reader: Reader, prefix: str, nodes: Entries, workloads: Entries, of_parts: dict[str, str]
) -> None:
    """Workloads bear their own name, nodes and what serves them one with the mesh's prefix."""
    fix = "choose another name"
    own = OWN_CONTAINERS | of_parts | {proxy_name(name): f"the relay of {name}" for name in _names(nodes)}
    for index, name in enumerate(_names(nodes)):
        if name in own:
            reader.wrong(f"nodes[{index}].name", name, f"would share {prefix}-{name} with {own[name]}", fix)
    taken = {f"{prefix}-{name}" for name in (*own, *_names(nodes))} | of_parts.keys()
    for index, name in enumerate(_names(workloads)):
        if name in taken:
            reader.wrong(f"workloads[{index}].name", name, "is the name of a container of the mesh itself", fix)


def _check_newcomers(reader: Reader, entries: Entries, previous: Mapping[str, str]) -> None:
    """Nobody is moved: an address that a node has is given to another only when that node is told where to go."""
    keep = {previous[str(entry.get("name"))]: entry.get("name") for entry in entries if _stays(entry, previous)}
    for index, entry in enumerate(entries):
        owner = keep.get(str(entry.get("address")))
        if owner is not None and owner != entry.get("name"):
            fix = f"choose another, or give {owner} an address of its own"
            reader.wrong(f"nodes[{index}].address", entry.get("address"), f"is the address of {owner}", fix)


def _stays(entry: Mapping[str, Any], previous: Mapping[str, str]) -> bool:
    return entry.get("address") is None and str(entry.get("name")) in previous


def _check_workloads(reader: Reader, nodes: Entries, workloads: Entries) -> None:
    names = _names(nodes)
    for index, entry in enumerate(workloads):
        path = f"workloads[{index}]"
        if entry.get("node") not in names:
            reader.wrong(f"{path}.node", entry.get("node"), "is not a node", f"one of {', '.join(names)}")
        sources = [entry[key] for key in ("image", "build") if entry.get(key) is not None]
        if len(sources) != 1 or not isinstance(sources[0], str) or not sources[0]:
            reader.wrong(path, dict(entry), "has not just one source", "give either image (a name) or build (a folder)")
        command = entry.get("command", [])
        if not isinstance(command, list) or not all(isinstance(word, str) and word for word in command):
            reader.wrong(f"{path}.command", command, "is not a list of words", "write it like [sleep, infinity]")


def _check_folders(reader: Reader, workloads: Entries, can_build: Callable[[str], bool]) -> None:
    for index, entry in enumerate(workloads):
        folder = entry.get("build")
        if isinstance(folder, str) and folder and not can_build(folder):
            fix = "name one that has it, relative to the project"
            reader.wrong(f"workloads[{index}].build", folder, "is no folder with a Dockerfile", fix)


def _fixed_numbers(reader: Reader, vpn: IPv4Network | None, entries: Entries) -> dict[str, int]:
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


def _node_generations(reader: Reader, entries: Entries) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, entry in enumerate(entries):
        value = entry.get("keyGeneration", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_GENERATIONS:
            reason, fix = f"is not a whole number from 0 to {MOST_GENERATIONS}", "raise it by 1"
            reader.wrong(f"nodes[{index}].keyGeneration", value, reason, fix)
        found[str(entry.get("name"))] = value
    return found


def _nodes(reader: Reader, ranges: _Ranges, first_ports: Mapping[str, int], wanted: _Assignment) -> tuple[Node, ...]:
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


def _check_number(reader: Reader, ranges: _Ranges, path: str, number: int) -> None:
    if number > ranges.room:
        address = str(host(ranges.vpn, number))
        reason = f"is number {number} of its range, but siteRange and underlayRange have room for {ranges.room}"
        reader.wrong(path, address, reason, "choose a lower address, or widen siteRange and underlayRange")


def _node(ranges: _Ranges, host_port: int, name: str, number: int) -> Node:
    address = host(ranges.vpn, number)
    return node_at(name, address, (ranges.vpn, ranges.underlay, ranges.sites), first_port=host_port or None)


def _workloads(
    reader: Reader, nodes: Sequence[Node], entries: Entries, previous: Mapping[str, str], reserved: Sequence[int]
) -> tuple[Workload, ...]:
    reader.stop_if_wrong("nodes", "workloads")
    usable = range(FIRST_WORKLOAD, min([*reserved, LAST_WORKLOAD + 1]))
    numbers: dict[str, int] = {}
    for node in nodes:
        names = _names([entry for entry in entries if entry["node"] == node.name])
        try:
            numbers |= _Assignment(names, {}, previous).within(node.site, usable)
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
