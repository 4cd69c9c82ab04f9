"""Known troubles of a mesh, found in what was collected of it; each is one function."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from vpn.model.facts import Facts, Outputs, Seen
from vpn.model.report import NodeReport
from vpn.model.status import OK, PRIMARY_ROLES, Node, Status, View, container_trouble

MOST_SKEW = 1.0  # seconds: new keys take effect by the hosts' clocks, in less than that
LEAST_ENGINE = (20, 10)
USERSPACE, RELAY = "userspace", "relay"
TUN = "/dev/net/tun"
PORT_TAKEN = re.compile(r"address already in use|port is already allocated")
UP_FIX = "`pulumi up` brings it back"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A trouble."""

    place: str
    """Where it is."""
    trouble: str
    found: str
    """What was seen."""
    fix: str
    hint: bool = False
    """It could be better, but nothing is broken."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a node showed when it was looked at from inside."""

    report: NodeReport
    has_tun: bool
    forwards: bool
    """Whether its kernel hands on packets."""
    paths: Mapping[str, tuple[int, int]]
    """By a peer's address: bytes of the largest packet that gets there, 0 if none does, and of what the route takes."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Why a container does not run well, as its engine tells."""

    error: str = ""
    out_of_memory: bool = False
    said: str = ""
    """By its health check, when that failed last."""


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """All that was collected."""

    outputs: Outputs
    facts: Facts
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """By the node's name; who could not be asked is not there."""
    stopped: Mapping[tuple[str, str], Stopped] = field(default_factory=dict)
    """By host and container."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of tools here and of engines, by what it is; empty when it is not there."""

    @property
    def status(self) -> Status:
        """The same as people see it."""
        return View(self.outputs, self.facts).status()


def examine(checkup: Checkup) -> list[Finding]:
    """All findings: troubles first, then hints."""
    found = [finding for check in CHECKS for finding in check(checkup)]
    found += _hanging(checkup, {one.place for one in found})
    return sorted(found, key=lambda one: one.hint)


def _hanging(checkup: Checkup, told: set[str]) -> Iterator[Finding]:
    """What is not well with a node that runs, and no check knows why, as when its agent hangs."""
    for node in checkup.status.nodes:
        host, container = checkup.facts.hosts.get(node.host), checkup.outputs["nodes"][node.name]["container"]
        runs = host and host.report and not container_trouble(host.containers.get(container))
        if runs and node.own_trouble and node.name not in told:
            fix = f"`docker logs {container}` says more; `docker restart {container}` if it hangs"
            yield Finding(place=node.name, trouble="it is not well", found=node.own_trouble, fix=fix)


# --- machines


def engines(checkup: Checkup) -> Iterator[Finding]:
    """An engine that does not answer."""
    for name, host in checkup.facts.hosts.items():
        if host.complaint:
            docker = checkup.outputs["hosts"][name]["docker"]
            where = f"`docker --host {docker} version` tries it" if docker else "set DOCKER_HOST if it is elsewhere"
            yield Finding(
                place=f"host {name}",
                trouble="the Docker engine does not answer",
                found=host.complaint,
                fix=f"start the engine; {where}",
            )


def versions(checkup: Checkup) -> Iterator[Finding]:
    """Tools that are missing or too old."""
    for name, version in checkup.versions.items():
        if not version:
            yield Finding(
                place="this machine",
                trouble=f"there is no {name}",
                found="it is not on PATH",
                fix="`make up` gets what is missing; else install it",
                hint=True,
            )
        elif name.startswith("engine ") and _number(version) < LEAST_ENGINE:
            yield Finding(
                place=name.replace("engine ", "host "),
                trouble="the Docker engine is old",
                found=version,
                fix=f"install {'.'.join(map(str, LEAST_ENGINE))} or newer",
            )


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def clocks(checkup: Checkup) -> Iterator[Finding]:
    """Clocks that differ: of two hosts, and of a host and this machine."""
    fix = "keep both in step (NTP): new keys take effect by the clocks, and WireGuard refuses handshakes of the past"
    skews = {f"host {name}": host.skew for name, host in checkup.facts.hosts.items() if host.report}
    for (one, here), (other, there) in combinations([("this machine", 0.0), *skews.items()], 2):
        apart = there - here
        if abs(apart) > MOST_SKEW:
            found = f"{other} is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} {one}"
            yield Finding(place=other, trouble="clocks differ", found=found, fix=fix)


def dataplanes(checkup: Checkup) -> Iterator[Finding]:
    """No WireGuard at all, or only the slower one."""
    for name, probe in checkup.probes.items():
        if TUN in probe.report.state or (not probe.report.dataplane and not probe.has_tun):
            yield Finding(
                place=name,
                trouble="there is no WireGuard",
                found=f"the kernel has none, and there is no {TUN}",
                fix="on its host: modprobe wireguard (or modprobe tun for the userspace one)",
            )
    slow = [name for name, probe in checkup.probes.items() if probe.report.dataplane.startswith(USERSPACE)]
    if slow:
        yield Finding(
            place=_few(slow),
            trouble="WireGuard runs in userspace",
            found="it is slower than the kernel's",
            fix="on their hosts: modprobe wireguard, then restart the nodes",
            hint=True,
        )


# --- containers


def containers(checkup: Checkup) -> Iterator[Finding]:
    """Containers that are missing, stopped, paused, restarting or unhealthy; relays are told apart."""
    for entry, seen, why in _broken(checkup):
        if entry["kind"] != RELAY:
            place, fix = f"{entry['kind']} {entry['name']}", _container_fix(seen, entry["container"])
            yield Finding(place=place, trouble=container_trouble(seen), found=_why(seen, why), fix=fix)


def relays(checkup: Checkup) -> Iterator[Finding]:
    """Relays that are down, and who depends on them."""
    for entry, seen, why in _broken(checkup):
        if entry["kind"] == RELAY:
            node = entry["name"].removeprefix("mullvad-proxy-")
            fix = f"{_container_fix(seen, entry['container'])}; links of {node} over TCP wait for it"
            place = f"relay {entry['name']}"
            yield Finding(place=place, trouble=container_trouble(seen), found=_why(seen, why), fix=fix)


def _broken(checkup: Checkup) -> Iterator[tuple[Mapping[str, Any], Seen | None, Stopped]]:
    """Containers that do not run well, but for those whose port is taken."""
    for entry in checkup.outputs["containers"]:
        host = checkup.facts.hosts.get(entry["host"])
        if host is None or host.complaint:
            continue
        seen = host.containers.get(entry["container"])
        why = checkup.stopped.get((entry["host"], entry["container"]), Stopped())
        if container_trouble(seen) and not PORT_TAKEN.search(why.error):
            yield entry, seen, why


def _why(seen: Seen | None, why: Stopped) -> str:
    if seen is None:
        return "somebody removed it"
    memory = "it was out of memory" if why.out_of_memory else ""
    said = f"its health check says: {why.said}" if why.said else ""
    return "; ".join(one for one in (why.error, memory, said) if one) or seen.status


def _container_fix(seen: Seen | None, container: str) -> str:
    if seen is None or seen.state in ("exited", "created", "dead"):
        return f"{UP_FIX}; `docker logs {container}` may say why it ended" if seen else UP_FIX
    if seen.state == "paused":
        return f"docker unpause {container}"
    return f"`docker logs {container}` says more; docker restart {container}"


def ports(checkup: Checkup) -> Iterator[Finding]:
    """A published port that another process has."""
    for (host, container), why in checkup.stopped.items():
        if PORT_TAKEN.search(why.error):
            yield Finding(
                place=f"{container} on host {host}",
                trouble="its port is taken",
                found=why.error,
                fix="end the process that has it (`ss -lnptu` on the host), or choose another hostPort or proxyPort, "
                "then `pulumi up`",
            )


# --- nodes


def forwarding(checkup: Checkup) -> Iterator[Finding]:
    """A node whose kernel hands on no packets."""
    for name, probe in checkup.probes.items():
        if not probe.forwards:
            container = checkup.outputs["nodes"][name]["container"]
            yield Finding(
                place=name,
                trouble="it hands on no packets",
                found="net.ipv4.ip_forward is 0 in its network",
                fix=f"docker restart {container}: it starts with 1; then find who sets it",
            )


def configs(checkup: Checkup) -> Iterator[Finding]:
    """A config that was delivered, but is not what runs, or none that was delivered."""
    for name, host in checkup.facts.hosts.items():
        if host.report_complaint:
            yield Finding(
                place=f"host {name}",
                trouble="nobody delivers configs there",
                found=host.report_complaint,
                fix=UP_FIX,
            )
        report = host.report
        for reader, wanted in report.wanted.items() if report else ():
            applied = report.applied.get(reader) if report else None
            if applied != wanted:
                said = f": {checkup.probes[reader].report.state}" if reader in checkup.probes else ""
                yield Finding(
                    place=reader,
                    trouble="its config is not applied",
                    found=f"it has {wanted} and goes by {applied or 'none'}{said}",
                    fix="mend what it says (`health` in its container), then `pulumi up`",
                )


def failures(checkup: Checkup) -> Iterator[Finding]:
    """A node that could not be made what it should be."""
    for name, probe in checkup.probes.items():
        if not probe.report.state.startswith(OK) and TUN not in probe.report.state:
            yield Finding(
                place=name,
                trouble="it is not as configured",
                found=probe.report.state or "it made no pass yet",
                fix=f"mend that; `docker logs {checkup.outputs['nodes'][name]['container']}` tells more",
            )


def keys(checkup: Checkup) -> Iterator[Finding]:
    """Keys that do not match: a node's own with what the stack says, and with what its peers have."""
    nodes = checkup.outputs["nodes"]
    for name, probe in checkup.probes.items():
        own = probe.report.public_key
        if own and own != nodes[name]["publicKey"]:
            yield Finding(
                place=name,
                trouble="its key is not the stack's",
                found=f"it has {own}, the stack says {nodes[name]['publicKey']}",
                fix=f"docker restart {nodes[name]['container']}; if it stays so, the outputs are old: `pulumi up`",
            )
        without = [
            peer
            for peer in nodes[name]["peers"]
            if own and peer in checkup.probes and own not in checkup.probes[peer].report.tunnels
        ]
        if without:
            yield Finding(
                place=name,
                trouble="peers do not have its key",
                found=f"{own} is no peer at {_few(without)}",
                fix="`pulumi up` brings both ends the same config; see whether it is applied",
            )


def mtus(checkup: Checkup) -> Iterator[Finding]:
    """Paths that lose large packets."""
    names = {node["address"]: name for name, node in checkup.outputs["nodes"].items()}
    for name, probe in checkup.probes.items():
        for address, (largest, wanted) in probe.paths.items():
            if 0 < largest < wanted:
                yield Finding(
                    place=f"{name} - {names[address]}",
                    trouble="large packets are lost",
                    found=f"{largest} bytes get through, {wanted} do not",
                    fix=f"mtu: {largest} in the stack's config, or mend the network between them; then `pulumi up`",
                )


# --- tunnels


def handshakes(checkup: Checkup) -> Iterator[Finding]:
    """Tunnels without a handshake, and what may be the cause."""
    nodes = {node.name: node for node in checkup.status.nodes}
    told: set[frozenset[str]] = set()
    for node in nodes.values():
        for peer in node.peers:
            if peer.trouble and frozenset((node.name, peer.name)) not in told:
                told.add(frozenset((node.name, peer.name)))
                yield Finding(
                    place=f"{node.name} - {peer.name}",
                    trouble="the tunnel is silent",
                    found=peer.trouble,
                    fix="; ".join(_causes(checkup, node, nodes[peer.name], peer.endpoint)),
                )


def _causes(checkup: Checkup, node: Node, peer: Node, endpoint: str) -> Iterator[str]:
    """Candidates, the likely ones first."""
    troubles = [one for one in (node, peer) if one.own_trouble]
    for one in troubles:
        yield f"mend {one.name} first: {one.own_trouble}"
    if troubles:
        return
    entries = checkup.outputs["nodes"]
    if not endpoint:
        yield f"{node.name} does not know where {peer.name} is, and waits for it to begin"
    if entries[node.name]["host"] != entries[peer.name]["host"]:
        yield f"see whether UDP gets in at {peer.endpoint}; if only TCP does, say inbound: tcp of its host"
    down = [one.name for one in checkup.status.parts if one.kind == RELAY and one.trouble]
    if down:
        yield f"mend the relays {_few(down)}"
    yield "see whether a firewall is between them, or a clock was set back"
    yield "`pulumi up` brings both ends the same preshared keys"


# --- what is beside the nodes


def gates(checkup: Checkup) -> Iterator[Finding]:
    """An access gate that cannot read the chain."""
    for name, host in checkup.facts.hosts.items():
        if host.gate and not host.gate.startswith(OK):
            yield Finding(
                place=f"gate on host {name}",
                trouble="it cannot look at the chain",
                found=host.gate,
                fix="see whether the chain runs and answers; members are put out when the lease ends",
            )


def databases(checkup: Checkup) -> Iterator[Finding]:
    """A PostgreSQL cluster without a primary, with two, or with a member that is not well."""
    members = checkup.status.databases
    primaries = [one.name for one in members if one.role in PRIMARY_ROLES]
    if members and len(primaries) != 1:
        yield Finding(
            place="PostgreSQL",
            trouble="there is no primary" if not primaries else "there are two primaries",
            found=", ".join(f"{one.name} is {one.role or 'not to be asked'}" for one in members),
            fix="two of three etcds and members have to run and reach each other: mend the nodes, and wait a minute",
        )
    stopped = {entry["name"] for entry, _, _ in _broken(checkup)}
    for one in members:
        if one.trouble and one.name not in stopped:
            fix = f"`docker logs` of {one.name} says more; Patroni repairs what it can by itself"
            yield Finding(place=one.name, trouble="the member is not well", found=one.trouble, fix=fix)


def guests(checkup: Checkup) -> Iterator[Finding]:
    """A confidential VM that is not let in, does not answer, or does not do as ordered."""
    for node in checkup.status.nodes:
        if node.name in checkup.outputs["guests"] and node.own_trouble:
            fix = "`vpn dstack list` says what it has to run, its log where it is deployed the rest; then `pulumi up`"
            yield Finding(place=node.name, trouble="the confidential VM is not well", found=node.own_trouble, fix=fix)


def _few(names: Iterable[str]) -> str:
    """Some names, and how many more."""
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")  # noqa: PLR2004 (shown)


CHECKS: tuple[Callable[[Checkup], Iterator[Finding]], ...] = (
    engines,
    containers,
    relays,
    ports,
    configs,
    failures,
    dataplanes,
    forwarding,
    keys,
    mtus,
    handshakes,
    gates,
    databases,
    guests,
    clocks,
    versions,
)
