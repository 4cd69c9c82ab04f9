"""From the raw configuration to a checked `Topology`, or to one report of everything that is wrong with it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

from vpn.model.access import AccessReader
from vpn.model.grants import broken
from vpn.model.guest_check import GuestCheck, check_members, of_guests
from vpn.model.hosts import Host, HostReader, Reach
from vpn.model.ingress import IngressReader
from vpn.model.parts import Parts, PartsReader
from vpn.model.placing import (
    MAX_PORT,
    Assignment,
    Entries,
    Ranges,
    check_newcomers,
    fixed_numbers,
    names_of,
    nodes_at,
    workloads_at,
)
from vpn.model.policy import Policy
from vpn.model.policy_reader import PolicyReader
from vpn.model.postgres_reader import check_places
from vpn.model.reader import LABEL, LABEL_FIX, Reader
from vpn.model.shape import FULL, ShapeReader, tunnels
from vpn.model.topology import CARRIER, CHAIN, GATE, MOST_GENERATIONS, SITE_PREFIX, Node, Topology, proxy_name
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
UNDERLAY_MTU = 1500
WIREGUARD_OVERHEAD = 60  # bytes over IPv4: IP 20, UDP 8, WireGuard 32 (WireGuard paper, 5.4.6)
OWN_CONTAINERS = {CARRIER: "the config carrier", GATE: "the access gate", CHAIN: "the embedded chain"}  # <name>-<key>


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
    reader = Reader({**DEFAULTS, **raw})
    reader.check_keys("", reader.raw, KEYS)
    draft = _Draft(reader, previous or {}, cluster or {})
    draft.check(can_build)
    return draft.topology(engines or {})


class _Draft:
    """A configuration that is being read: every step notes what is wrong, and goes on while that makes sense."""

    def __init__(self, reader: Reader, previous: Mapping[str, str], cluster: Mapping[str, Any]) -> None:
        self._reader, self._previous, self._cluster = reader, previous, cluster
        self._values = _plain_values(reader)
        self._ports = {key: reader.number(key, 0, MAX_PORT) for key in ("hostPort", "proxyPort")}
        self._networks = {key: reader.network(key) for key in ("vpnRange", "underlayRange", "siteRange")}
        self._nodes, self._workloads = reader.entries("nodes", NODE_KEYS), reader.entries("workloads", WORKLOAD_KEYS)
        self._names = list(dict.fromkeys(names_of(self._nodes)))
        self._access, self._parts = AccessReader.of(reader), PartsReader.of(reader, self._names)

    def check(self, can_build: Callable[[str], bool]) -> None:
        """What can be told of names and ranges alone."""
        reader, nodes, workloads = self._reader, self._nodes, self._workloads
        _check_ranges(reader, self._networks, self._access)
        _check_names(reader, nodes, workloads)
        _check_workloads(reader, nodes, workloads)
        _check_folders(reader, workloads, can_build)
        _check_container_names(reader, str(reader.raw.get("name")), nodes, workloads, self._parts.own_names())
        check_newcomers(reader, nodes, self._previous)

    def topology(self, engines: Mapping[str | None, str]) -> Topology:
        """All of it. Raises ConfigError."""
        reader = self._reader
        fixed = fixed_numbers(reader, self._networks["vpnRange"], self._nodes)
        generations = _node_generations(reader, self._nodes)
        hosts = HostReader(reader).by_node(HostReader(reader).hosts(engines), self._nodes)
        who, parts = self._who(hosts)
        ways = self._ways(hosts, who["policy"])
        if has_guests := any(host.guest for host in hosts.values()):
            GuestCheck(reader, hosts).everything(self._networks, self._nodes, self._workloads)
        nodes = self._placed(fixed, has_relays=bool(ways["relayed_links"] or self._ports["proxyPort"] or has_guests))
        nodes = tuple(replace(node, key_generation=generations[node.name], host=hosts[node.name]) for node in nodes)
        workloads = workloads_at(reader, nodes, self._workloads, self._previous, parts.numbers)
        reader.stop_if_wrong()
        sites = parts.at({node.name: node.site for node in nodes})
        topology = Topology(nodes=nodes, workloads=workloads, **self._values, **self._ranges(), **who, **ways, **sites)
        self._check_whole(topology)
        return topology

    def _who(self, hosts: Mapping[str, Host]) -> tuple[dict[str, Any], Parts]:
        """Who may talk to whom, and what the mesh itself has at the sites."""
        reader = PolicyReader(
            reader=self._reader,
            nodes=self._names,
            workloads=_places(self._workloads) | self._parts.places(),
            own=self._parts.own_names(),
            has_members=bool(self._access),
        )
        access = self._access.access() if self._access else None
        policy, expectations = reader.read()
        parts = self._parts.parts(hosts, self._cluster)
        policy = replace(policy, own_pairs=parts.pairs(self._names))
        return {"policy": policy, "expectations": expectations, "access": access}, parts

    def _ways(self, hosts: Mapping[str, Host], policy: Policy) -> dict[str, Any]:
        """How packets go from node to node."""
        reader, values = self._reader, self._values
        shape = ShapeReader(reader, hosts).shape()
        talking = [pair for pair in combinations(self._names, 2) if policy.talk(*pair)]
        reach = Reach(hosts=hosts, gateways=_with_gateway(self._nodes))
        links = TransportReader(reader, reach).links(tunnels(shape, talking), values["mtu"])
        relayed = {name for link in links for name in (*link.between, *link.through)}
        ingresses = IngressReader(reader).ingresses(self._nodes, relayed) | of_guests(hosts, values["listen_port"])
        proxy_port = self._ports["proxyPort"]
        return {"shape": shape, "relayed_links": links, "ingresses": ingresses, "proxy_port": proxy_port}

    def _placed(self, fixed: Mapping[str, int], *, has_relays: bool) -> tuple[Node, ...]:
        self._reader.stop_if_wrong("nodes", *self._networks)
        vpn, underlay, sites = (network for network in self._networks.values() if network)
        ranges = Ranges(vpn=vpn, underlay=underlay, sites=sites, proxies=has_relays)
        return nodes_at(self._reader, ranges, self._ports, Assignment(names_of(self._nodes), fixed, self._previous))

    def _ranges(self) -> dict[str, Any]:
        vpn, underlay, sites = self._networks.values()
        return {"vpn_range": vpn, "underlay_range": underlay, "site_range": sites}

    def _check_whole(self, topology: Topology) -> None:
        reader = self._reader
        _check_published(reader, topology)
        check_members(reader, topology)
        _check_expectations(reader, topology)
        check_places(reader, topology.postgres, self._cluster.get("addresses", {}))
        reader.stop_if_wrong()


def _places(workloads: Entries) -> dict[str, str]:
    """The node of every workload."""
    return {str(entry.get("name")): str(entry.get("node")) for entry in workloads}


def _with_gateway(nodes: Entries) -> frozenset[str]:
    return frozenset(str(entry.get("name")) for entry in nodes if entry.get("ingress") is not None)


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
    own = OWN_CONTAINERS | of_parts | {proxy_name(name): f"the relay of {name}" for name in names_of(nodes)}
    for index, name in enumerate(names_of(nodes)):
        if name in own:
            reader.wrong(f"nodes[{index}].name", name, f"would share {prefix}-{name} with {own[name]}", fix)
    taken = {f"{prefix}-{name}" for name in (*own, *names_of(nodes))} | of_parts.keys()
    for index, name in enumerate(names_of(workloads)):
        if name in taken:
            reader.wrong(f"workloads[{index}].name", name, "is the name of a container of the mesh itself", fix)


def _check_workloads(reader: Reader, nodes: Entries, workloads: Entries) -> None:
    names = names_of(nodes)
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


def _node_generations(reader: Reader, entries: Entries) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, entry in enumerate(entries):
        value = entry.get("keyGeneration", 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_GENERATIONS:
            reason, fix = f"is not a whole number from 0 to {MOST_GENERATIONS}", "raise it by 1"
            reader.wrong(f"nodes[{index}].keyGeneration", value, reason, fix)
        found[str(entry.get("name"))] = value
    return found
