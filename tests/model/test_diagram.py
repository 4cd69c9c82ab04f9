"""The picture of a mesh, character by character; `python -m tests.model.test_diagram` draws the golden files anew."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.model.seen import guest, seen, status, told, tunnel, with_container, with_tunnel
from vpn.model import diagram
from vpn.model.diagram import Diagram, Edge, Vertex
from vpn.model.facts import GuestFacts, Seen

GOLDEN = Path(__file__).parent / "golden"
RENDER: dict[str, Callable[[Diagram], str]] = {"mmd": diagram.mermaid, "dot": diagram.dot, "svg": diagram.svg}
CONFIG: dict[str, Any] = {
    "hosts": [
        {"name": "fra", "docker": "ssh://ops@fra", "address": "198.51.100.1"},
        {"name": "nyc", "docker": "ssh://ops@nyc", "address": "198.51.100.2"},
    ],
    "proxyPort": 8443,
    "nodes": [{"name": name, "host": host} for name, host in (("a", "fra"), ("b", "fra"), ("c", "nyc"), ("db", "nyc"))],
}
SVG = "{http://www.w3.org/2000/svg}"


def example() -> Diagram:
    """Two hosts; a and c speak over TCP, db is dead, b and c are silent."""
    mesh = told(CONFIG)
    facts = with_container(seen(mesh), "wireguard-db", Seen(state="exited", status="Exited"), "nyc")
    facts = with_tunnel(facts, "a", "c", tunnel(f"{mesh['nodes']['a']['relay']}:1027"), "fra")
    facts = with_tunnel(facts, "b", "c", tunnel("198.51.100.2:51822", 400), "fra")
    return diagram.of(mesh["nodes"], status(mesh, facts))


def test_what_is_drawn() -> None:
    drawn = example()
    assert [(one.name, one.host, one.health) for one in drawn.vertices] == [
        ("a", "fra", "up"),
        ("b", "fra", "up"),
        ("c", "nyc", "up"),
        ("db", "nyc", "down"),
    ]
    assert [(one.one, one.other, one.transport, one.health) for one in drawn.edges] == [
        ("a", "b", "udp", "up"),
        ("a", "c", "tcp", "up"),
        ("a", "db", "udp", "down"),
        ("b", "c", "udp", "down"),
        ("b", "db", "udp", "down"),
        ("c", "db", "udp", "down"),
    ]


def between_guests() -> Diagram:
    """Two nodes in confidential VMs, where nobody looks, and one that is not."""
    mesh = told({"nodes": [{"name": "a"}, {"name": "b"}, {"name": "c"}]})
    facts = guest(mesh, "b", seen(mesh), GuestFacts(serial=1))
    one = mesh["guests"]
    facts = replace(guest(mesh, "c", facts, GuestFacts(serial=1)), guests=dict.fromkeys("bc", GuestFacts(serial=1)))
    mesh["guests"] |= one
    return diagram.of(mesh["nodes"], status(mesh, facts))


def test_a_tunnel_of_which_nobody_tells_is_unknown() -> None:
    drawn = between_guests()
    assert [(one.one, one.other, one.health) for one in drawn.edges] == [
        ("a", "b", "up"),
        ("a", "c", "up"),
        ("b", "c", "unknown"),
    ]
    assert "linkStyle 2 stroke:#656d76,stroke-dasharray:2 6\n" in diagram.mermaid(drawn)
    assert '"b" -- "c" [label="unknown", style=dotted, color="#656d76"];' in diagram.dot(drawn)
    picture = ET.fromstring(diagram.svg(drawn))
    assert [one.get("class") for one in picture.iter(f"{SVG}line") if len(one)] == ["up udp", "up udp", "unknown udp"]
    assert picture.findtext(f"{SVG}title") == "3 nodes, 3 tunnels, not all known"
    assert "unknown" in [one.text for one in picture.iter(f"{SVG}text")], "the legend says it"


def test_a_tunnel_of_a_guest_that_is_down_is_down() -> None:
    mesh = told({"nodes": [{"name": "a"}, {"name": "b"}]})
    facts = guest(mesh, "b", seen(mesh), GuestFacts(complaint="no route"))
    assert [one.health for one in diagram.of(mesh["nodes"], status(mesh, facts)).edges] == ["down"]


@pytest.mark.parametrize("suffix", RENDER)
def test_the_picture_is_the_golden_one(suffix: str) -> None:
    assert RENDER[suffix](example()) == (GOLDEN / f"mesh.{suffix}").read_text()


def test_the_picture_is_xml_and_has_everything() -> None:
    picture = ET.fromstring(diagram.svg(example()))
    assert len(list(picture.iter(f"{SVG}circle"))) == 4
    assert len([one for one in picture.iter(f"{SVG}line") if len(one)]) == 6
    assert "@media (prefers-color-scheme: dark)" in str(picture.findtext(f"{SVG}style"))
    assert picture.findtext(f"{SVG}title") == "4 nodes, 6 tunnels, not all up"


def test_names_cannot_break_out() -> None:
    bad = '</text>"&<x>'
    vertices = (Vertex(name=bad, host=bad, health="up"), Vertex(name="b", host="h", health="up"))
    drawn = Diagram(vertices=vertices, edges=(Edge(one=bad, other="b", transport="udp", health="up"),))
    texts = [one.text for one in ET.fromstring(diagram.svg(drawn)).iter(f"{SVG}text")]
    assert bad in texts
    assert '"</text>\\"&<x>"' in diagram.dot(drawn)
    assert '"</text>"' not in diagram.mermaid(drawn)


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_any_number_of_nodes_is_inside_the_picture(count: int) -> None:
    vertices = tuple(
        Vertex(name=f"node-{number:02}", host=f"host-{number % 3}", health="up") for number in range(count)
    )
    picture = ET.fromstring(diagram.svg(Diagram(vertices=tuple(sorted(vertices, key=lambda one: one.host)), edges=())))
    side = float(str(picture.get("viewBox")).split()[2])
    for one in picture.iter(f"{SVG}circle"):
        assert 0 < float(str(one.get("cx"))) < side
        assert 0 < float(str(one.get("cy"))) < side
    places = {(one.get("cx"), one.get("cy")) for one in picture.iter(f"{SVG}circle")}
    assert len(places) == count


if __name__ == "__main__":
    for ending, render in RENDER.items():
        (GOLDEN / f"mesh.{ending}").write_text(render(example()))
