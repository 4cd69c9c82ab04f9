"""vpn check: whether the mesh does what its configuration says, seen from every node."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from vpn import engines
from vpn.cli import look, mesh, probe
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.cli.probe import Found, Place
from vpn.cli.status import age_text
from vpn.engines import Engine, connected
from vpn.model.facts import Facts, Outputs

AT_ONCE = 16  # probes
PING = "ping"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was looked at."""

    source: str
    target: str
    what: str
    wanted: str
    found: str
    ok: bool
    handshake: float | None = None
    """Seconds since the last one of the pair's tunnel; None if there was none, or they have none."""


def check(stack: StackOption = "dev", mesh_file: MeshOption = None, *, as_json: JsonOption = False) -> None:
    """Ping from every node, and try what the configuration's `tests` expect; exit status 1 if anything differs.

    Nobody looks out of a confidential VM: its node is pinged, and pings nobody.
    """
    outputs = mesh.outputs(mesh_file, stack)
    with Console(stderr=True).status("looking from every node"):
        lines = _lines(outputs)
    wrong = [line for line in lines if not line.ok]
    show(Answer([asdict(line) for line in lines], _table(lines)), as_json=as_json)
    if wrong:
        raise CliError(f"{len(wrong)} of {len(lines)} differ", fix="`vpn doctor` tells why, `vpn logs` what was done")


def _lines(outputs: Outputs) -> list[Line]:
    """What was found; handshakes at last, because a ping may bring one about."""
    with ExitStack() as undo, ThreadPoolExecutor(AT_ONCE) as pool:
        looks = list(_looks(outputs, _engines(outputs, undo)))
        lines = [line for found in pool.map(lambda one: one(), looks) for line in found]
    return list(_with_handshakes(lines, outputs["nodes"], look.facts(outputs)))


def _engines(outputs: Outputs, undo: ExitStack) -> dict[str, Engine]:
    """Those of all hosts, by name, which all must answer."""
    hosts = look.hosts(outputs)
    silent = asyncio.run(engines.silent(hosts.values()))
    if silent:
        fixes = "; ".join(engines.fix(hosts[name]) for name in silent)
        raise CliError("; ".join(f"{name}: {complaint}" for name, complaint in silent.items()), fix=fixes)
    return {name: undo.enter_context(connected(host, look.SECONDS)) for name, host in hosts.items()}


def _looks(outputs: Outputs, at: Mapping[str, Engine]) -> Iterator[Callable[[], list[Line]]]:
    nodes = outputs["nodes"]
    ours = {name: node for name, node in nodes.items() if node["container"]}  # nobody looks out of a confidential VM
    for name, node in ours.items():
        others = {other: there["address"] for other, there in nodes.items() if other != name}
        place = Place(engine=at[node["host"]], container=node["container"])
        yield partial(_pinged, name, place, others, frozenset(node["pings"]))
    tools = {node["host"]: node["container"] for node in ours.values()}
    for test in outputs["tests"]:
        yield partial(_tried, test, _place(test, at, tools))


def _place(test: Mapping[str, Any], at: Mapping[str, Engine], tools: Mapping[str, str]) -> Place | None:
    """Where a test's packets come from; beside a workload, with the tools of a node there."""
    if not test["container"]:
        return None
    host = test["host"]
    return Place(engine=at[host], container=test["container"], tools="" if test["isNode"] else tools[host])


def _pinged(name: str, place: Place, others: Mapping[str, str], peers: frozenset[str]) -> list[Line]:
    found = probe.ping(place, list(others.values()))
    return [_line(name, other, PING, wanted=other in peers, found=found[there]) for other, there in others.items()]


def _tried(test: Mapping[str, Any], place: Place | None) -> list[Line]:
    protocol, _, port = test["port"].partition("/")
    found = Found.UNKNOWN
    if protocol == "tcp" and place:
        found = probe.connect(place, test["address"], port)
    return [_line(test["from"], test["to"], test["port"], wanted=test["allow"], found=found)]


def _line(source: str, target: str, what: str, *, wanted: bool, found: Found) -> Line:
    expected = Found.REACHED if wanted else Found.DENIED
    ok = found in (expected, Found.UNKNOWN)
    return Line(source=source, target=target, what=what, wanted=expected.value, found=found.value, ok=ok)


def _with_handshakes(lines: list[Line], nodes: Mapping[str, Any], facts: Facts) -> Iterator[Line]:
    for line in lines:
        report = facts.hosts[nodes[line.source]["host"]].report if line.what == PING else None
        node = report.nodes.get(line.source) if report else None
        tunnel = node.tunnels.get(nodes[line.target]["publicKey"]) if node else None
        if report and tunnel and tunnel.handshake:
            yield replace(line, handshake=max(0.0, report.clock - tunnel.handshake))
        else:
            yield line


def _table(lines: list[Line]) -> Table:
    table = Table("from", "to", "what", "wanted", "found", "handshake", "")
    for line in lines:
        found = f"[bold red]{line.found}[/]" if not line.ok else line.found
        is_tunnel = line.what == PING and line.wanted == Found.REACHED.value
        handshake = age_text(line.handshake) if is_tunnel else ""
        table.add_row(line.source, line.target, line.what, line.wanted, found, handshake, _mark(line))
    return table


def _mark(line: Line) -> str:
    if line.found == Found.UNKNOWN.value:
        return "-"
    return "✓" if line.ok else "✗"
