"""vpn check: whether the mesh does what its configuration says, seen from every node."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from vpn.cli import mesh, probe
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.cli.probe import OWN, Engine, Found, Place

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
    """Ping from every node, and try what the configuration's `tests` expect; exit status 1 if anything differs.

    Nobody looks out of a confidential VM: its node is pinged, and pings nobody.
    """
    outputs = mesh.outputs(mesh_file, stack)
    try:
        looks = list(_looks(outputs))
    except (KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"there are no outputs of a mesh ({error!r})", fix="run `pulumi up` once with this version"
        ) from None
    with Console(stderr=True).status("looking from every node"), ThreadPoolExecutor(AT_ONCE) as pool:
        lines = [line for found in pool.map(lambda look: look(), looks) for line in found]
    wrong = [line for line in lines if not line.ok]
    show(Answer([asdict(line) for line in lines], _table(lines)), as_json=as_json)
    if wrong:
        raise CliError(f"{len(wrong)} of {len(lines)} differ", fix="`docker logs` of a node tells what it applied")


def _looks(outputs: Mapping[str, Any]) -> Iterator[Callable[[], list[Line]]]:
    nodes, tests = outputs["nodes"], outputs["tests"]
    if not nodes:
        raise KeyError("nodes")
    engines = {
        name: Engine(address=host.get("docker"), certificates=host.get("certificates"))
        for name, host in outputs["hosts"].items()
    }
    ours = {name: node for name, node in nodes.items() if node["container"]}  # nobody looks out of a confidential VM
    images = {node["host"]: probe.image_of(node["container"], engines[node["host"]]) for node in ours.values()}
    for name, node in ours.items():
        others = {other: there["address"] for other, there in nodes.items() if other != name}
        place = Place(container=node["container"], engine=engines[node["host"]])
        yield partial(_pinged, name, place, others, frozenset(node["pings"]))
    for test in tests:
        host = test["host"]
        image = images.get(host, "") if host and not test["isNode"] else ""
        place = Place(container=test["container"], image=image, engine=engines.get(host, OWN))
        yield partial(_tried, test, place)


def _pinged(name: str, place: Place, others: Mapping[str, str], peers: frozenset[str]) -> list[Line]:
    found = probe.ping(place, list(others.values()))
    return [_line(name, other, "ping", wanted=other in peers, found=found[there]) for other, there in others.items()]


def _tried(test: Mapping[str, Any], place: Place) -> list[Line]:
    protocol, _, port = test["port"].partition("/")
    found = Found.UNKNOWN
    if protocol == "tcp" and test["container"]:
        found = probe.connect(place, test["address"], port)
    return [_line(test["from"], test["to"], test["port"], wanted=test["allow"], found=found)]


def _line(source: str, target: str, what: str, *, wanted: bool, found: Found) -> Line:
    expected = Found.REACHED if wanted else Found.DENIED
    ok = found in (expected, Found.UNKNOWN)
    return Line(source=source, target=target, what=what, wanted=expected.value, found=found.value, ok=ok)


def _table(lines: list[Line]) -> Table:
    table = Table("from", "to", "what", "wanted", "found", "")
    for line in lines:
        found = f"[bold red]{line.found}[/]" if not line.ok else line.found
        table.add_row(line.source, line.target, line.what, line.wanted, found, _mark(line))
    return table


def _mark(line: Line) -> str:
    if line.found == Found.UNKNOWN.value:
        return "-"
    return "✓" if line.ok else "✗"
