"""A picture of the mesh as it is, as SVG and for Mermaid and Graphviz. The same mesh gives the same picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import cos, pi, sin
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from vpn.model.status import TCP, UDP, Node, Status, natural

UP, DOWN, UNKNOWN = "up", "down", "unknown"
COLOURS = {UP: "#1a7f37", DOWN: "#cf222e", UNKNOWN: "#656d76"}
LETTER, LINE = 8, 22  # width and height of text, like all lengths in pixels
MARGIN = 24
DOT = 7
LEAST_RADIUS = 130
DENSE = 200  # lines: more hide each other, and what is down
NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'
LEGEND = ((UP, UDP, "UDP"), (UP, TCP, "TCP"), (DOWN, UDP, "down"), (UNKNOWN, UDP, "unknown"))
MERMAID_LINES = {
    DOWN: f"stroke:{COLOURS[DOWN]}",
    UNKNOWN: f"stroke:{COLOURS[UNKNOWN]},stroke-dasharray:2 6",
}
# Colours that are told apart on both grounds; who sees none has dashes for TCP, dots for what is down or,
# far apart, unknown, and crosses.
STYLE = """\
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.ground { fill: #ffffff }
.host { fill: #656d76; font-size: 12px }
.up { stroke: #1a7f37 }
.down { stroke: #cf222e }
.unknown { stroke: #656d76 }
line { stroke-width: 1.5 }
line.tcp { stroke-dasharray: 7 4 }
line.down { stroke-dasharray: 1.5 4 }
line.unknown { stroke-dasharray: 1.5 9 }
.dense line.up:not(.key) { stroke-width: 0.6; opacity: 0.4 }
circle.up { fill: #1a7f37 }
circle.down { fill: #cf222e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ground { fill: #0d1117 }
  .host { fill: #8d96a0 }
  .up { stroke: #3fb950 }
  .down { stroke: #f85149 }
  .unknown { stroke: #8d96a0 }
  circle.up { fill: #3fb950 }
  circle.down { fill: #f85149 }
}"""


@dataclass(frozen=True, kw_only=True)
class Vertex:
    """A node."""

    name: str
    host: str
    health: str
    """up or down."""


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A tunnel."""

    one: str
    other: str
    transport: str
    """udp or tcp; empty when nothing goes."""
    health: str
    """up or down; unknown when neither end tells, as between two confidential VMs."""


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """What is drawn: the nodes, those of a host one after another, and the tunnels."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]


def of(nodes: Mapping[str, Mapping[str, Any]], status: Status) -> Diagram:
    """The mesh of the outputs' nodes as it is by its status."""
    seen = {node.name: node for node in status.nodes}
    vertices = [Vertex(name=one.name, host=one.host, health=_node_health(one)) for one in status.nodes]
    pairs = sorted({tuple(sorted((name, peer))) for name, node in nodes.items() for peer in node["peers"]})
    return Diagram(
        vertices=tuple(sorted(vertices, key=lambda one: (natural(one.host), natural(one.name)))),
        edges=tuple(_edge(seen[one], seen[other]) for one, other in pairs),
    )


def _node_health(node: Node) -> str:
    """Of the node itself: that of its tunnels is theirs."""
    return DOWN if node.own_trouble else UP


def _edge(one: Node, other: Node) -> Edge:
    """A tunnel is up when both ends are, and all that tell of it say so; it is over TCP when one end's packets are."""
    told = [peer for node, end in ((one, other), (other, one)) for peer in node.peers if peer.name == end.name]
    lost = any(peer.trouble for peer in told) or DOWN in (_node_health(one), _node_health(other))
    ways = {peer.transport for peer in told} - {""}
    transport = TCP if TCP in ways else UDP if ways else ""
    health = DOWN if lost else UP if told else UNKNOWN
    return Edge(one=one.name, other=other.name, transport=transport, health=health)


# --- Mermaid


def mermaid(diagram: Diagram) -> str:
    """A flowchart, hosts as subgraphs (Mermaid, flowchart syntax)."""
    ids = {one.name: f"n{number}" for number, one in enumerate(diagram.vertices)}
    lines = ["flowchart LR"]
    for number, (host, vertices) in enumerate(_hosts(diagram)):
        lines += [f'  subgraph h{number}["{_entities(host)}"]']
        lines += [f'    {ids[one.name]}["{_entities(_label(one))}"]:::{one.health}' for one in vertices]
        lines += ["  end"]
    for one in diagram.edges:
        arrow = "-.-" if one.transport == TCP else "---"
        lines.append(f'  {ids[one.one]} {arrow}|"{_way(one)}"| {ids[one.other]}')
    for health, style in MERMAID_LINES.items():
        numbers = [str(number) for number, one in enumerate(diagram.edges) if one.health == health]
        lines += [f"  linkStyle {','.join(numbers)} {style}"] if numbers else []
    lines += [f"  classDef {health} stroke:{COLOURS[health]}" for health in (UP, DOWN)]
    return "\n".join(lines) + "\n"


def _entities(text: str) -> str:
    """Text as Mermaid takes it between quotes."""
    return escape(text, {'"': "#quot;"})


# --- Graphviz


def dot(diagram: Diagram) -> str:
    """An undirected graph, hosts as clusters (Graphviz, DOT language)."""
    lines = ["graph mesh {", "  node [shape=box, style=rounded];"]
    for number, (host, vertices) in enumerate(_hosts(diagram)):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(host)};"]
        lines += [
            f"    {_quoted(one.name)} [label={_quoted(_label(one))}, color={_colour(one.health)}];" for one in vertices
        ]
        lines.append("  }")
    for one in diagram.edges:
        style = "dotted" if one.health == UNKNOWN else "dashed" if one.transport == TCP else "solid"
        ends = f"{_quoted(one.one)} -- {_quoted(one.other)}"
        lines.append(f"  {ends} [label={_quoted(_way(one))}, style={style}, color={_colour(one.health)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _colour(health: str) -> str:
    return _quoted(COLOURS[health])


def _hosts(diagram: Diagram) -> Iterator[tuple[str, list[Vertex]]]:
    for host, vertices in groupby(diagram.vertices, key=lambda one: one.host):
        yield host, list(vertices)


def _label(vertex: Vertex) -> str:
    return vertex.name if vertex.health == UP else f"✗ {vertex.name}"


def _way(edge: Edge) -> str:
    return edge.health if edge.health != UP else edge.transport.upper() or "idle"


# --- SVG


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a node is drawn: on a circle around the middle."""

    x: float
    y: float
    angle: float


def svg(diagram: Diagram) -> str:
    """The nodes on a circle, those of a host side by side, on a light or a dark ground as the reader has it."""
    radius = _radius(diagram)
    side = _side(diagram, radius)
    places = _places(diagram.vertices, radius, side / 2)
    box, density = f"0 0 {side} {side}", "dense" if len(diagram.edges) > DENSE else "sparse"
    title = f"{len(diagram.vertices)} nodes, {len(diagram.edges)} tunnels, {_in_short(diagram)}"
    lines = [
        f'<svg {NAMESPACE} class="{density}" viewBox="{box}" role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title>",
        f"<style>\n{STYLE}\n</style>",
        f'<rect class="ground" width="{side}" height="{side}"/>',
        *(_line(one, places) for one in sorted(diagram.edges, key=lambda edge: edge.health, reverse=True)),
        *(text for one in diagram.vertices for text in _vertex(one, places[one.name], _several_hosts(diagram))),
        *_legend(side),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _in_short(diagram: Diagram) -> str:
    healths = {one.health for one in diagram.vertices} | {one.health for one in diagram.edges}
    if DOWN in healths:
        return "not all up"
    return "not all known" if UNKNOWN in healths else "all up"


def _several_hosts(diagram: Diagram) -> bool:
    return len({one.host for one in diagram.vertices}) > 1


def _radius(diagram: Diagram) -> int:
    """So that two lines of text have room between two nodes."""
    return max(LEAST_RADIUS, round(_slots(diagram.vertices) * 2 * LINE / (2 * pi)))


def _side(diagram: Diagram, radius: int) -> int:
    longest = max((len(text) for one in diagram.vertices for text in (_label(one), one.host)), default=0)
    return 2 * (radius + DOT + longest * LETTER + MARGIN)


def _slots(vertices: Sequence[Vertex]) -> int:
    """Places on the circle; between hosts one stays empty."""
    hosts = len({one.host for one in vertices})
    return len(vertices) + (hosts if hosts > 1 else 0)


def _places(vertices: Sequence[Vertex], radius: float, middle: float) -> dict[str, _Place]:
    slots, slot, host = _slots(vertices), 0, vertices[0].host if vertices else ""
    places = {}
    for one in vertices:
        slot += one.host != host
        host = one.host
        angle = 2 * pi * slot / slots - pi / 2
        places[one.name] = _Place(x=middle + radius * cos(angle), y=middle + radius * sin(angle), angle=angle)
        slot += 1
    return places


def _line(edge: Edge, places: Mapping[str, _Place]) -> str:
    one, other = places[edge.one], places[edge.other]
    ends = f'x1="{one.x:.1f}" y1="{one.y:.1f}" x2="{other.x:.1f}" y2="{other.y:.1f}"'
    told = escape(f"{edge.one} - {edge.other}: {_way(edge)}")
    return f'<line class="{edge.health} {edge.transport or UDP}" {ends}><title>{told}</title></line>'


def _vertex(vertex: Vertex, place: _Place, with_host: bool) -> Iterator[str]:  # noqa: FBT001 (one of two pictures)
    yield f'<circle class="{vertex.health}" cx="{place.x:.1f}" cy="{place.y:.1f}" r="{DOT}"/>'
    x, y = place.x + 2 * DOT * cos(place.angle), place.y + 2 * DOT * sin(place.angle)
    anchor = _anchor(cos(place.angle))
    down = 5 + (LINE / 2 * sin(place.angle) if anchor == "middle" else 0)
    yield f'<text x="{x:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">{escape(_label(vertex))}</text>'
    if with_host:
        beside = y + down + (-LINE * 0.7 if sin(place.angle) < 0 else LINE * 0.7)
        yield f'<text class="host" x="{x:.1f}" y="{beside:.1f}" text-anchor="{anchor}">{escape(vertex.host)}</text>'


def _anchor(cosine: float) -> str:
    """Text runs away from the circle."""
    if abs(cosine) < 0.1:  # noqa: PLR2004 (about the top or the bottom)
        return "middle"
    return "start" if cosine > 0 else "end"


def _legend(side: float) -> Iterator[str]:
    for number, (health, transport, text) in enumerate(LEGEND):
        y = side - MARGIN / 2 - (len(LEGEND) - 1 - number) * LINE
        ends = f'x1="{MARGIN / 2:.0f}" y1="{y:.0f}" x2="{MARGIN * 2}" y2="{y:.0f}"'
        yield f'<line class="key {health} {transport}" {ends}/>'
        yield f'<text class="host" x="{MARGIN * 2 + DOT}" y="{y + 4:.0f}">{text}</text>'
