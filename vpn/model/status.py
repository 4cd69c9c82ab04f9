"""How a running mesh is: a view on its stack's outputs and on what was seen of it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vpn.model.facts import DatabaseFacts, Facts, HostFacts, Member, Outputs, Seen
from vpn.model.report import NodeReport, Tunnel

# Seconds after a handshake (WireGuard paper, 6.1): past the one, a packet makes the next, past the other, its key ends.
REKEY_AFTER, REJECT_AFTER = 120, 180
HANDSHAKE_TAKES = 30  # seconds, when some of its packets are lost: they are repeated every five
SILENT = 30  # seconds that the last report of a node which does not answer may be old
UDP, TCP = "udp", "tcp"
OK = "ok"
PRIMARY_ROLES = ("primary", "master")
MISSING = "there is no container"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A tunnel as one of its ends knows it."""

    name: str
    transport: str
    """udp or tcp; empty when nothing ever came or went."""
    endpoint: str
    handshake: float | None
    """Seconds since the last one; None: never."""
    received: int
    """Bytes, as `sent`."""
    sent: int
    trouble: str
    """Empty when all is well."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node and its tunnels."""

    name: str
    host: str
    address: str
    endpoint: str
    dataplane: str
    wanted: str | None
    """Generation of the config that was brought to it; None when nobody can tell, as for `applied`."""
    applied: str | None
    peers: tuple[Peer, ...]
    own_trouble: str
    """What is not well with the node itself."""

    @property
    def trouble(self) -> str:
        """Of the node itself, else of its tunnels."""
        return self.own_trouble or _tunnels_trouble(self.peers)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Anything else of the mesh."""

    name: str
    kind: str
    host: str
    health: str
    """What is to be said of it."""
    trouble: str


@dataclass(frozen=True, kw_only=True)
class Database:
    """A member of the PostgreSQL cluster."""

    name: str
    host: str
    role: str
    state: str
    lag: int | None
    """Bytes behind the primary; None when nobody knows."""
    trouble: str


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A member, and when somebody heard of it."""

    token: int
    key: str
    address: str
    owner: str
    handshake: float | None
    """Seconds since the last one with any node; None: never."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The mesh as it is now."""

    nodes: tuple[Node, ...]
    parts: tuple[Part, ...]
    members: tuple[Joined, ...]
    databases: tuple[Database, ...]
    troubles: tuple[str, ...]
    """All that is not well, each with where it is."""


def natural(name: str) -> list[str | int]:
    """To sort names by: node-2 comes before node-10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def container_trouble(seen: Seen | None) -> str:
    """What is wrong with a container as its engine sees it; empty if nothing."""
    if seen is None:
        return MISSING
    if seen.state != "running":
        return f"the container is {seen.state}"
    return "the container is unhealthy" if "(unhealthy)" in seen.status else ""


def stale_after(quiet: int) -> int:
    """Age in seconds of a handshake that says the tunnel is gone, where a packet goes every so many seconds."""
    return max(REJECT_AFTER, REKEY_AFTER + quiet + HANDSHAKE_TAKES)


def transport(endpoint: str, relay: str | None) -> str:
    """How packets go to an endpoint: what a relay carries over TCP comes from, and goes to, the one beside the node."""
    if not endpoint:
        return ""
    return TCP if endpoint.rpartition(":")[0] == relay else UDP


@dataclass(frozen=True)
class View:
    """Judges what was seen."""

    outputs: Outputs
    facts: Facts

    def status(self) -> Status:
        """All of it."""
        nodes = tuple(self._node(name) for name in sorted(self.outputs["nodes"], key=natural))
        databases = tuple(self._databases())
        parts = tuple(self._parts())
        judged: tuple[Node | Part | Database, ...] = (*nodes, *parts, *databases)
        told = (f"{one.name}: {one.trouble}" for one in judged if one.trouble)
        return Status(
            nodes=nodes,
            parts=parts,
            members=tuple(self._members()),
            databases=databases,
            troubles=tuple(dict.fromkeys((*self._hosts(), *told, *self._cluster()))),
        )

    def _hosts(self) -> Iterator[str]:
        for name, host in self.facts.hosts.items():
            if host.complaint or host.report_complaint:
                yield f"host {name}: {host.complaint or host.report_complaint}"

    def _on(self, host: str) -> HostFacts:
        return self.facts.hosts.get(host) or HostFacts(complaint="nobody asked its engine")

    @cached_property
    def _entries(self) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        return {(one["host"], one["name"]): one for one in self.outputs["containers"]}

    def _container_trouble(self, host: str, name: str) -> str:
        facts = self._on(host)
        if facts.complaint:
            return "its engine does not answer"
        return container_trouble(facts.containers.get(self._entries[host, name]["container"]))

    # --- nodes

    def _node(self, name: str) -> Node:
        node = self.outputs["nodes"][name]
        if name in self.outputs["guests"]:
            return self._guest(name, node)
        host, report = self._on(node["host"]), self.report(name)
        peers = tuple(self._peer(name, peer, report) for peer in node["peers"]) if report else ()
        wanted = host.report.wanted.get(name) if host.report else None
        applied = host.report.applied.get(name) if host.report else None
        trouble = self._container_trouble(node["host"], name) or _report_trouble(host, report, node["publicKey"])
        return Node(
            name=name,
            host=node["host"],
            address=node["address"],
            endpoint=node["published"] or node["endpoint"],
            dataplane=report.dataplane if report else "",
            wanted=wanted,
            applied=applied,
            peers=peers,
            own_trouble=trouble or _config_trouble(wanted, applied),
        )

    def report(self, name: str) -> NodeReport | None:
        """What a node said of itself, if it runs."""
        node = self.outputs["nodes"][name]
        host = self._on(node["host"])
        seen = host.containers.get(node["container"])
        return host.report.nodes.get(name) if host.report and seen and seen.state == "running" else None

    def _peer(self, name: str, peer: str, report: NodeReport) -> Peer:
        nodes = self.outputs["nodes"]
        tunnel = report.tunnels.get(nodes[peer]["publicKey"])
        if tunnel is None:
            return Peer(
                name=peer, transport="", endpoint="", handshake=None, received=0, sent=0, trouble="is no peer there"
            )
        age = self._age(nodes[name]["host"], tunnel)
        return Peer(
            name=peer,
            transport=transport(tunnel.endpoint, nodes[name]["relay"]),
            endpoint=tunnel.endpoint,
            handshake=age,
            received=tunnel.received,
            sent=tunnel.sent,
            trouble=_tunnel_trouble(age, self._keepalive(name, peer)),
        )

    def _age(self, host: str, tunnel: Tunnel) -> float | None:
        """By the clock of the host, which said when it is what."""
        told = self._on(host).report
        return max(told.clock - tunnel.handshake, 0.0) if tunnel.handshake and told else None

    def _keepalive(self, name: str, peer: str) -> int:
        """Seconds between two packets of a tunnel, at most; 0: nobody keeps it alive."""
        links = self.outputs["links"]
        return int(links.get("keepalives", {}).get(" - ".join(sorted((name, peer))), links["keepalive"]))

    # --- nodes in confidential VMs: nobody looks inside

    def _guest(self, name: str, node: Mapping[str, Any]) -> Node:
        peers = tuple(peer for other in node["peers"] if (peer := self._seen_from(other, name)))
        return Node(
            name=name,
            host=node["host"],
            address=node["address"],
            endpoint=node["published"] or node["endpoint"],
            dataplane="",
            wanted=None,
            applied=None,
            peers=peers,
            own_trouble=self._guest_trouble(name),
        )

    def _seen_from(self, peer: str, name: str) -> Peer | None:
        """The tunnel as its other end knows it, from this end's side."""
        report = self.report(peer) if self.outputs["nodes"][peer]["container"] else None
        if report is None:
            return None
        seen = self._peer(peer, name, report)
        return Peer(
            name=peer,
            transport=seen.transport,
            endpoint="",
            handshake=seen.handshake,
            received=seen.sent,
            sent=seen.received,
            trouble=seen.trouble,
        )

    def _guest_trouble(self, name: str) -> str:
        if not self.outputs["guests"][name]["admitted"]:
            return "is not let in: deploy its VM, and run `pulumi up`"
        facts = self.facts.guests.get(name)
        if facts is None or facts.complaint:
            return f"its keeper does not tell: {facts.complaint if facts else 'nobody asked'}"
        return f"has not applied order {facts.serial}: {', '.join(facts.missing)}" if facts.missing else ""

    # --- all else

    def _members(self) -> Iterator[Joined]:
        members = {one for host in self.facts.hosts.values() for one in host.members}
        for one in sorted(members, key=lambda member: member.token):
            ages = [age for name in self.outputs["nodes"] if (age := self._heard_of(one, name)) is not None]
            handshake = min(ages, default=None)
            yield Joined(token=one.token, key=one.key, address=one.address, owner=one.owner, handshake=handshake)

    def _heard_of(self, member: Member, name: str) -> float | None:
        report = self.report(name) if self.outputs["nodes"][name]["container"] else None
        tunnel = report and report.tunnels.get(member.key)
        return self._age(self.outputs["nodes"][name]["host"], tunnel) if tunnel else None

    def _parts(self) -> Iterator[Part]:
        for (host, name), entry in self._entries.items():
            if entry["kind"] == "node":
                continue
            facts, trouble = self._on(host), self._container_trouble(host, name)
            seen = facts.containers.get(entry["container"])
            said = facts.gate if entry["kind"] == "gate" else ""
            if not trouble and facts.report and name in facts.report.wanted:
                trouble = _config_trouble(facts.report.wanted[name], facts.report.applied.get(name))
            yield Part(
                name=name,
                kind=entry["kind"],
                host=host,
                health=said or (seen.status if seen else ""),
                trouble=trouble or ("" if said.startswith(OK) else said),
            )

    def _databases(self) -> Iterator[Database]:
        lags = self._lags()
        for (host, name), entry in self._entries.items():
            if entry["kind"] == "postgres":
                facts = self._on(host).databases.get(name, DatabaseFacts())
                node = name.removeprefix("postgres-")
                yield Database(
                    name=name,
                    host=host,
                    role=facts.role,
                    state=facts.state,
                    lag=lags.get(node),
                    trouble=facts.complaint or self._container_trouble(host, name),
                )

    def _lags(self) -> dict[str, int | None]:
        """As the primary knows them, else whoever knows any."""
        views = [one for host in self.facts.hosts.values() for one in host.databases.values()]
        lags: dict[str, int | None] = {}
        for view in sorted(views, key=lambda one: one.role in PRIMARY_ROLES):
            lags |= view.lags
        return lags

    def _cluster(self) -> Iterator[str]:
        trouble = self.cluster_trouble()
        if trouble:
            yield f"PostgreSQL: {trouble}"

    def cluster_trouble(self) -> str:
        """What is wrong with the PostgreSQL cluster's primary; empty if nothing, or there is no cluster."""
        members = tuple(self._databases())
        primaries = [one.name for one in members if one.role in PRIMARY_ROLES]
        if len(primaries) > 1:
            return f"{' and '.join(primaries)} both say that they are the primary"
        return self._missing_primary(members) if members and not primaries else ""

    def _missing_primary(self, members: tuple[Database, ...]) -> str:
        """Who cannot be asked may be the primary, and is when the others say so; that it cannot is told already."""
        unasked = {one.name.removeprefix("postgres-") for one in members if self._on(one.host).complaint}
        views = [view for host in self.facts.hosts.values() for view in host.databases.values() if view.lags]
        if unasked.intersection(view.leader for view in views):
            return ""
        return "there is no primary" if views or not unasked else "nobody tells which member is the primary"


def _report_trouble(host: HostFacts, report: NodeReport | None, key: str) -> str:
    if report is None:
        return "told nothing yet" if host.report else "nobody tells how it is"
    if report.age > SILENT:
        return f"does not answer; what it last said is {report.age:.0f} s old"
    if not report.state.startswith(OK):
        return report.state
    return "" if report.public_key == key else f"its key is {report.public_key or 'none'} instead of {key}"


def _tunnel_trouble(age: float | None, keepalive: int) -> str:
    """A tunnel that nobody keeps alive may be silent."""
    if not keepalive or (age is not None and age <= stale_after(keepalive)):
        return ""
    return "never connected" if age is None else f"no handshake for {age:.0f} s"


def _config_trouble(wanted: str | None, applied: str | None) -> str:
    if wanted is None:
        return "there is no config for it"
    if applied is None:
        return f"has not applied config {wanted}"
    return "" if wanted == applied else f"goes by config {applied} instead of {wanted}"


def _tunnels_trouble(peers: tuple[Peer, ...]) -> str:
    silent = [one for one in peers if one.trouble]
    if not silent:
        return ""
    told = ", ".join(f"{one.name} ({one.trouble})" for one in silent[:3])
    more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""  # noqa: PLR2004 (shown above)
    return f"{len(silent)} of {len(peers)} tunnels: {told}{more}"
