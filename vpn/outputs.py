"""What the stack tells its users, and itself at the next `up`: plain views on the topology."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vpn.model.guest_compose import app_compose
from vpn.model.hosts import DOCKER, DSTACK
from vpn.model.monitoring import PAGE
from vpn.model.monitoring_files import url
from vpn.model.policy import MEMBERS
from vpn.model.postgres import PRIMARY_PORT, REPLICA_PORT
from vpn.model.topology import CARRIER, CHAIN, GATE, Node, Topology, proxy_name

NODE, RELAY, WORKLOAD = "node", "relay", "workload"  # kinds of containers, beside those that the model names


def nodes(topology: Topology, public_keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every node by name: where it is and its public key."""
    return {
        node.name: {
            "container": None if node.host.guest else topology.container(node.name),
            "address": str(node.address),
            "host": node.host.name,
            "endpoint": f"{node.underlay}:{topology.listen_port}",
            "published": _published(node),
            "hostPort": None if node.host.guest else node.host_port,
            "proxyPort": None if node.host.guest else topology.proxy_host_port(node),
            "relay": str(topology.proxy_address(node)) if node in topology.proxied else None,
            "site": str(node.site),
            "peers": [peer.name for peer in topology.peers_of(node)],
            "pings": [other.name for other in topology.talks_with(node)],
            "members": topology.admits_members(node),
            "publicKey": public_keys.get(node.name),
        }
        for node in topology.nodes
    }


def _published(node: Node) -> str | None:
    """Where anybody reaches it; None if nobody does, or there is no telling."""
    reached = node.host.address and node.host.takes_udp and node.host_port
    return f"{node.host.address}:{node.host_port}" if reached else None


def hosts(topology: Topology) -> dict[str, dict[str, str | None]]:
    """Every host by name: where its engine is and what gets in."""
    return {
        host.name: {
            "kind": DSTACK if host.guest else DOCKER,
            "docker": host.docker,
            "certificates": host.certificates,
            "address": str(host.address) if host.address else None,
            "region": host.region,
            "inbound": host.inbound,
        }
        for host in topology.hosts
    }


def guests(topology: Topology, signer: str, evidence: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every node in a confidential VM by name: what the VM has to run, and what it proved."""
    return {node.name: _guest(topology, node, signer, evidence.get(node.name)) for node in topology.guests}


def _guest(topology: Topology, node: Node, signer: str, evidence: str | None) -> dict[str, Any]:
    compose = app_compose(topology, node, signer)
    return {
        "admitted": node.name not in topology.outside,
        "composeHash": compose.compose_hash(),
        "appCompose": compose.text(),
        "dockerCompose": compose.docker_compose_file,
        "signer": signer,
        "epoch": topology.epoch(node),
        "evidence": evidence,
        "keeper": asdict(topology.keeper(node)) if node.host.guest and node.host.guest.app else None,
    }


def links(topology: Topology) -> dict[str, Any]:
    """What the tunnels cost, and how those between two hosts go, and why."""
    tunnels = [(node, peer) for node in topology.nodes for peer in topology.peers_of(node) if node.name < peer.name]
    between: dict[str, dict[str, None]] = {}
    for node, peer in tunnels:
        one, other = sorted((node, peer), key=lambda end: end.host.name)
        if one.host != other.host:
            between.setdefault(f"{one.host.name} - {other.host.name}", {})[_way(topology, one, other)] = None
    ways = Counter(_transport(topology, node, peer) for node, peer in tunnels)
    return {
        "tunnels": len(tunnels),
        "transports": dict(sorted(ways.items())),
        "keepalive": topology.keepalive,
        "keepalives": _keepalives(topology, tunnels),
        "mostOfANode": max((len(topology.peers_of(node)) for node in topology.nodes), default=0),
        "between": {hosts: "; ".join(how) for hosts, how in sorted(between.items())},
    }


def _keepalives(topology: Topology, tunnels: Sequence[tuple[Node, Node]]) -> dict[str, int]:
    """Of tunnels that are kept alive otherwise than the rest: by their ends, in the order of their names."""
    seconds = {
        " - ".join(sorted((node.name, peer.name))): max(
            topology.keepalive_to(node, peer), topology.keepalive_to(peer, node)
        )
        for node, peer in tunnels
    }
    return {ends: one for ends, one in seconds.items() if one != topology.keepalive}


def _transport(topology: Topology, node: Node, peer: Node) -> str:
    link = topology.link(node, peer)
    if link is None:
        return "udp"
    return "relays" if link.through else "auto" if link.auto else "tcp"


def _way(topology: Topology, one: Node, other: Node) -> str:
    """How a tunnel between two hosts goes, and why."""
    transport = _transport(topology, one, other)
    if transport == "relays":
        link = topology.link(one, other)
        return f"over TCP by the relays of {', '.join(link.through if link else ())}: nothing gets in at either"
    name = {"udp": "UDP", "tcp": "TCP", "auto": "UDP, or TCP while that does not get through"}[transport]
    closed = [end.host.name for end in (one, other) if not topology.reach.takes_tcp(end.name)]
    if closed:
        return f"{name}, opened from {closed[0]}: nothing gets in there"
    no_udp = [end.host.name for end in (one, other) if not end.host.takes_udp]
    if transport == "tcp" and len(no_udp) == 2:  # noqa: PLR2004 (both)
        return f"{name}: UDP gets in at neither"
    return f"{name}, opened from {no_udp[0]}: only TCP gets in there" if no_udp else name


def containers(topology: Topology) -> list[dict[str, str]]:
    """Everything that runs on Docker engines of ours: its name in the mesh, what it is, host and container."""
    ours = [node for node in topology.nodes if not node.host.guest]
    nodes = {node.name: node for node in ours}
    found = [
        *((node.name, NODE, node.host.name) for node in ours),
        *((proxy_name(node.name), RELAY, node.host.name) for node in topology.proxied if node in ours),
        *((one.name, one.kind, topology.node(one.node).host.name) for one in topology.places),
        *_of_hosts(topology),
        *((one.name, WORKLOAD, nodes[one.node].host.name) for one in topology.workloads if one.node in nodes),
    ]
    return [
        {"name": name, "kind": kind, "host": host, "container": topology.container(name)} for name, kind, host in found
    ]


def _of_hosts(topology: Topology) -> Iterator[tuple[str, str, str]]:
    """What every host has one of."""
    for host in topology.engines:
        yield CARRIER, CARRIER, host.name
        if topology.access:
            yield GATE, GATE, host.name
        if topology.access and topology.access.embedded:
            yield CHAIN, CHAIN, host.name


def workloads(topology: Topology) -> dict[str, dict[str, str]]:
    """Every workload by name."""
    return {workload.name: {"node": workload.node, "address": str(workload.address)} for workload in topology.workloads}


def tests(topology: Topology) -> list[dict[str, Any]]:
    """What the configuration expects of its rules, and where that can be tried: in a container, but for members."""
    nodes = {node.name for node in topology.nodes}
    return [
        {
            "from": one.source,
            "host": "" if one.source == MEMBERS else topology.node_of(one.source).host.name,
            "to": one.target,
            "container": "" if _is_elsewhere(topology, one.source) else topology.container(one.source),
            "isNode": one.source in nodes,
            "address": str(topology.address(one.at)),
            "port": f"{ports.protocol}/{number}",
            "allow": one.allow,
        }
        for one in topology.expectations
        for ports in one.ports
        for number in sorted({ports.first, ports.last})
    ]


def _is_elsewhere(topology: Topology, source: str) -> bool:
    """Whether nobody can look from there: at a member, or in a confidential VM."""
    return source == MEMBERS or topology.node_of(source).host.guest is not None


def access(topology: Topology) -> dict[str, Any] | None:
    """How a holder of a pass joins; None when nobody can. The URL of a real chain may hold a key and is not told."""
    rule = topology.access
    if rule is None:
        return None
    return {
        "memberRange": str(rule.member_range),
        "mtu": topology.mtu,
        "domain": topology.domain,
        "contract": rule.contract,
        "rpcUrl": f"http://127.0.0.1:{rule.chain_port}" if rule.embedded else None,
    }


def postgres(topology: Topology) -> dict[str, Any] | None:
    """How a workload connects: to the HAProxy of its own site; passwords are an output of their own."""
    cluster = topology.postgres
    if cluster is None:
        return None
    return {
        "members": list(cluster.nodes),
        "memory": cluster.memory,
        "generation": cluster.generation,
        "backups": [topology.container(place.name) for place in cluster.archives],
        "addresses": {place.name: str(place.address) for place in topology.places},
        "clients": {
            place.node: {"host": f"{place.name}.{topology.domain}", "address": str(place.address)}
            for place in cluster.proxies
        },
        "primaryPort": PRIMARY_PORT,
        "replicaPort": REPLICA_PORT,
        "roles": list(cluster.roles),
        "databases": {one.name: one.owner for one in cluster.databases},
        "containers": {place.name: topology.container(place.name) for place in cluster.places},
    }


def monitoring(topology: Topology) -> dict[str, Any] | None:
    """Where the status page and Prometheus are; by names of the mesh, and only there."""
    one = topology.monitoring
    if one is None:
        return None
    return {
        "node": one.node,
        "address": str(one.address),
        "container": topology.container(one.name),
        "page": f"{url(topology, one)}{PAGE}",
        "prometheus": url(topology, one),
    }
