"""vpn status: how the mesh is now, and what of it is not well."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from vpn.cli import look, mesh
from vpn.cli.failure import CliError
from vpn.cli.options import Answer, JsonOption, MeshOption, StackOption, show
from vpn.model.status import Node, Peer, Status, View

NODE_COLUMNS = ("node", "host", "address", "endpoint", "runs in", "config", "path", "handshake", "in", "out", "health")
MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
STEP = 1024
NodeArgument = Annotated[str | None, typer.Argument(metavar="[NODE]", help="Show the tunnels of this one.")]
FIX = "`vpn doctor` looks for causes and names fixes"


def status(
    name: NodeArgument = None, stack: StackOption = "dev", mesh_file: MeshOption = None, *, as_json: JsonOption = False
) -> None:
    """Show every node, its tunnels and all else of the mesh as they are now; exit status 1 if anything is not well.

    Of a node in a confidential VM: what the others and its keeper say.
    """
    with Console(stderr=True).status("looking"):
        outputs = mesh.outputs(mesh_file, stack)
        found = View(outputs, look.facts(outputs)).status()
    answer = Answer(asdict(found), Group(*_text(found))) if name is None else _of_node(found, name)
    show(answer, as_json=as_json)
    if found.troubles:
        raise CliError(f"{len(found.troubles)} things are not well", fix=FIX)


def _of_node(found: Status, name: str) -> Answer:
    """One node's tunnels. Raises CliError when there is none of this name."""
    nodes = {node.name: node for node in found.nodes}
    if name not in nodes:
        raise CliError(f"there is no node {name}", fix=f"one of {', '.join(nodes)}")
    table = Table("peer", "path", "endpoint", "handshake", "in", "out", "health")
    for peer in nodes[name].peers:
        way = (peer.transport or "-", peer.endpoint or "-", age_text(peer.handshake))
        table.add_row(peer.name, *way, size(peer.received), size(peer.sent), _health(peer.trouble))
    return Answer(asdict(nodes[name]), table)


def _text(found: Status) -> Iterator[RenderableType]:
    yield _nodes(found)
    if found.parts:
        yield _parts(found)
    if found.databases:
        yield _databases(found)
    if found.members:
        yield _members(found)
    for trouble in found.troubles:
        yield f"[red]✗[/] {escape(trouble)}"


def _nodes(found: Status) -> Table:
    table = Table(*NODE_COLUMNS)
    for node in found.nodes:
        received, sent = (sum(getattr(peer, way) for peer in node.peers) for way in ("received", "sent"))
        cells = (node.name, node.host, node.address, node.endpoint, node.dataplane.split(" ")[0])
        way = (_config(node), _paths(node.peers), _handshake(node), size(received), size(sent))
        table.add_row(*cells, *way, _health(node.trouble))
    return table


def _config(node: Node) -> str:
    if node.wanted is None:
        return "-"
    return node.wanted if node.wanted == node.applied else f"{node.applied or 'none'} → {node.wanted}"


def _paths(peers: tuple[Peer, ...]) -> str:
    """How many of the tunnels go which way."""
    ways = [peer.transport for peer in peers]
    return ", ".join(f"{ways.count(way)} {way or 'silent'}" for way in dict.fromkeys(sorted(ways, reverse=True))) or "-"


def _handshake(node: Node) -> str:
    """The one that is longest ago."""
    if not node.peers:
        return "-"
    ages = [peer.handshake for peer in node.peers]
    known = [age for age in ages if age is not None]
    return "never" if len(known) < len(ages) else age_text(max(known))


def _health(trouble: str) -> str:
    return f"[red]✗ {escape(trouble)}[/]" if trouble else "[green]✓[/]"


def _parts(found: Status) -> Table:
    table = Table("beside them", "what", "host", "health")
    for part in found.parts:
        table.add_row(part.name, part.kind, part.host, _health(part.trouble) if part.trouble else escape(part.health))
    return table


def _databases(found: Status) -> Table:
    table = Table("PostgreSQL", "host", "role", "state", "behind", "health")
    for one in found.databases:
        lag = "-" if one.lag is None else size(one.lag)
        table.add_row(one.name, one.host, one.role or "-", one.state or "-", lag, _health(one.trouble))
    return table


def _members(found: Status) -> Table:
    table = Table("pass", "address", "key", "holder", "handshake")
    for one in found.members:
        table.add_row(str(one.token), one.address, one.key, one.owner, age_text(one.handshake))
    return table


def age_text(seconds: float | None) -> str:
    """How long ago, for people."""
    if seconds is None:
        return "never"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """A number of bytes, for people."""
    for unit in UNITS[:-1]:
        if count < STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= STEP
    return f"{count:.1f} {UNITS[-1]}"
