"""vpn check: whether the mesh does what its configuration says, seen from every node."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from vpn.cli import mesh, probe
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.cli.probe import Found, Place

AT_ONCE = 16  # probes


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was looked at."""

    source: str
    target: str
    what: str
    wanted: str
    found: str
    ok: bool


def check(stack: StackOption = "dev", mesh_file: MeshOption = None, *, as_json: JsonOption = False) -> None:
    """Ping between all nodes, and try what the configuration's `tests` expect; exit status 1 if anything differs."""
    outputs = mesh.outputs(mesh_file, stack)
    with Console(stderr=True).status("looking from every node"), ThreadPoolExecutor(AT_ONCE) as pool:
        lines = [future.result() for future in [pool.submit(look) for look in _looks(outputs)]]
    wrong = [line for line in lines if not line.ok]
    show(Answer([asdict(line) for line in lines], _table(lines)), as_json=as_json)
    if wrong:
        raise CliError(f"{len(wrong)} of {len(lines)} differ", fix="`docker logs` of a node tells what it applied")


def _looks(outputs: Mapping[str, Any]) -> Iterator[partial[Line]]:
    nodes = outputs["nodes"]
    image = probe.image_of(next(iter(nodes.values()))["container"])
    for name, node in nodes.items():
        for other in nodes:
            if other != name:
                yield partial(_pinged, name, node, other, nodes[other])
    for test in outputs["tests"]:
        yield partial(_tried, test, image)


def _pinged(name: str, node: Mapping[str, Any], other: str, peer: Mapping[str, Any]) -> Line:
    found = probe.ping(Place(container=node["container"]), peer["address"])
    wanted = Found.REACHED if other in node["peers"] else Found.DENIED
    return _line(name, other, "ping", wanted, found)


def _tried(test: Mapping[str, Any], image: str) -> Line:
    protocol, _, port = test["port"].partition("/")
    wanted = Found.REACHED if test["allow"] else Found.DENIED
    if protocol != "tcp" or not test["container"]:
        return _line(test["from"], test["to"], test["port"], wanted, Found.UNKNOWN)
    place = Place(container=test["container"], image="" if test["isNode"] else image)
    return _line(test["from"], test["to"], test["port"], wanted, probe.connect(place, test["address"], int(port)))


def _line(source: str, target: str, what: str, wanted: Found, found: Found) -> Line:
    ok = found in (wanted, Found.UNKNOWN)
    return Line(source=source, target=target, what=what, wanted=wanted.value, found=found.value, ok=ok)


def _table(lines: list[Line]) -> Table:
    table = Table("from", "to", "what", "wanted", "found", "")
    for line in lines:
        found = f"[bold red]{line.found}[/]" if not line.ok else line.found
        table.add_row(line.source, line.target, line.what, line.wanted, found, "✓" if line.ok else "✗")
    return table
