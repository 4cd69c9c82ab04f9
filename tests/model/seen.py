"""A mesh as it is seen: outputs, and what a host tells of it, to be bent by tests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vpn import outputs
from vpn.model.config import parse
from vpn.model.facts import Facts, GuestFacts, HostFacts, Seen
from vpn.model.report import HostReport, NodeReport, Tunnel
from vpn.model.status import Node, Status, View

NOW = 1_764_000_000.0
UP = Seen(state="running", status="Up 2 hours (healthy)")


def told(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a stack of this configuration tells; the key of node x is key-of-x."""
    mesh = parse(config)
    return {
        "nodes": outputs.nodes(mesh, {node.name: key(node.name) for node in mesh.inside}),
        "hosts": outputs.hosts(mesh),
        "guests": {},
        "containers": outputs.containers(mesh),
        "links": outputs.links(mesh),
        "mesh": "f00",
        "access": outputs.access(mesh),
        "postgres": outputs.postgres(mesh),
    }


def key(node: str) -> str:
    """A stand-in for a public key."""
    return f"key-of-{node}"


def tunnel(endpoint: str, age: float | None = 20) -> Tunnel:
    """A tunnel with a handshake so many seconds ago; None: never."""
    return Tunnel(handshake=0 if age is None else int(NOW - age), received=1000, sent=2000, endpoint=endpoint)


def seen(told: Mapping[str, Any]) -> Facts:
    """Of a mesh that is well."""
    return Facts(hosts={name: _host(told, name) for name in told["hosts"]}, guests={})


def _host(told: Mapping[str, Any], host: str) -> HostFacts:
    entries = [one for one in told["containers"] if one["host"] == host]
    generations = {one["name"]: "abcdef012345" for one in entries if one["kind"] != "workload"}
    nodes = {name: _report(told, name) for name, node in told["nodes"].items() if node["host"] == host}
    return HostFacts(
        containers={one["container"]: UP for one in entries},
        report=HostReport(clock=NOW, wanted=generations, applied=generations, nodes=nodes),
        gate="ok 0 members at block 1" if any(one["kind"] == "gate" for one in entries) else "",
    )


def _report(told: Mapping[str, Any], name: str) -> NodeReport:
    peers = told["nodes"][name]["peers"]
    return NodeReport(
        age=2,
        state="ok abcdef012345 kernel",
        dataplane="kernel",
        public_key=key(name),
        tunnels={key(peer): tunnel(told["nodes"][peer]["endpoint"]) for peer in peers},
    )


def on_host(facts: Facts, host: str = "local", **changes: Any) -> Facts:
    """The same with something else of a host."""
    return replace(facts, hosts={**facts.hosts, host: replace(facts.hosts[host], **changes)})


def reported(facts: Facts, node: str, host: str = "local", **changes: Any) -> Facts:
    """The same with another report of a node."""
    report = facts.hosts[host].report
    assert report
    nodes = {**report.nodes, node: replace(report.nodes[node], **changes)}
    return on_host(facts, host, report=replace(report, nodes=nodes))


def with_container(facts: Facts, container: str, one: Seen | None, host: str = "local") -> Facts:
    """The same with a container in another state, or none."""
    others = {name: other for name, other in facts.hosts[host].containers.items() if name != container}
    return on_host(facts, host, containers=others | ({container: one} if one else {}))


def with_tunnel(facts: Facts, node: str, peer: str, one: Tunnel | None, host: str = "local") -> Facts:
    """The same with another tunnel, or none."""
    report = facts.hosts[host].report
    assert report
    others = {name: other for name, other in report.nodes[node].tunnels.items() if name != key(peer)}
    return reported(facts, node, host, tunnels=others | ({key(peer): one} if one else {}))


def status(told: Mapping[str, Any], facts: Facts) -> Status:
    """What is made of it."""
    return View(told, facts).status()


def node(told: Mapping[str, Any], facts: Facts, name: str) -> Node:
    """One node of it."""
    return next(one for one in status(told, facts).nodes if one.name == name)


def guest(told: dict[str, Any], name: str, facts: Facts, keeper: GuestFacts, *, admitted: bool = True) -> Facts:
    """The same with a node in a confidential VM, where nobody looks."""
    entry = told["nodes"][name]
    told["guests"] = {name: {"admitted": admitted}}
    told["containers"] = [one for one in told["containers"] if one["name"] != name]
    told["nodes"] = {**told["nodes"], name: entry | {"container": None, "host": "vm"}}
    report = facts.hosts["local"].report
    assert report
    nodes = {other: one for other, one in report.nodes.items() if other != name}
    return replace(on_host(facts, report=replace(report, nodes=nodes)), guests={name: keeper})
