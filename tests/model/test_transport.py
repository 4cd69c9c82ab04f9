"""Which pairs speak over TCP, and what their nodes and relays are told."""

import json
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from udp_over_tcp import settings

from tests.model.example import KEYS
from tests.model.strategies import configs
from tests.model.test_config import BASE, A, B, check, mistakes
from vpn.model import relay
from vpn.model.bundle import node_files
from vpn.model.config import parse
from vpn.model.topology import Node, Topology
from vpn.model.transport import RelayedLink

C = {"name": "node-c"}
AB = frozenset(("node-a", "node-b"))
THREE = BASE | {"nodes": [A, B, C]}
ONE_LINK = {"links": [{"between": ["node-b", "node-a"], "transport": "tcp"}]}
RELAY_OF_NODE_A = """\
{
  "outgoing": [
    {
      "listen": "172.20.128.1:1026",
      "forward": "172.20.128.2:51820",
      "sources": [
        "172.20.0.2/32"
      ],
      "idle": 130,
      "peer": "172.20.0.2:51820",
      "tls": null,
      "mutual": true
    }
  ],
  "incoming": [
    {
      "listen": "172.20.128.1:51820",
      "forward": "172.20.0.2:51820",
      "sources": [
        "172.20.0.0/16"
      ],
      "idle": 130,
      "connections": 1024,
      "connectionsOfOne": 256
    }
  ],
  "echo": [
    {
      "listen": "172.20.128.1:1024",
      "sources": [
        "172.20.0.0/16"
      ]
    }
  ],
  "meetings": [],
  "places": []
}
"""


@st.composite
def linked(draw: st.DrawFn) -> dict[str, Any]:
    """Configurations of two nodes or more, with some links over TCP."""
    config = draw(configs(min_nodes=2))
    names = [node["name"] for node in config["nodes"]]
    pairs = draw(st.lists(st.sampled_from(list(combinations(names, 2))), unique=True, max_size=5))
    transports = st.sampled_from(["udp", "tcp", "auto"])
    links = [{"between": list(pair), "transport": draw(transports)} for pair in pairs]
    return config | {"transport": draw(transports), "links": links}


def pairs(mesh: Topology) -> list[list[str]]:
    return [sorted(link.between) for link in mesh.relayed_links]


# --- which


def test_by_default_all_is_udp_and_there_is_no_relay() -> None:
    mesh = parse(THREE)
    assert (mesh.relayed_links, mesh.proxied) == ((), ())


def test_one_link_over_tcp() -> None:
    mesh = parse(THREE | ONE_LINK)
    assert mesh.relayed_links == (RelayedLink(between=AB, mtu=1376),)
    assert [node.name for node in mesh.proxied] == ["node-a", "node-b"]


def test_all_over_tcp_but_one() -> None:
    mesh = parse(THREE | {"transport": "tcp", "links": [{"between": ["node-a", "node-b"], "transport": "udp"}]})
    assert pairs(mesh) == [["node-a", "node-c"], ["node-b", "node-c"]]


def test_a_published_relay_is_beside_every_node() -> None:
    mesh = parse(THREE | {"proxyPort": 8443})
    assert [mesh.proxy_host_port(node) for node in mesh.proxied] == [8443, 8444, 8445]


@pytest.mark.parametrize(("more", "expected"), [({}, 1376), ({"mtu": 1300}, 1300), ({"mtu": 1420}, 1420)])
def test_the_mtu_of_a_link(more: dict[str, Any], expected: int) -> None:
    (link,) = parse(THREE | {"links": [ONE_LINK["links"][0] | more]}).relayed_links
    assert link.mtu == expected


def test_no_link_has_a_larger_mtu_than_the_mesh() -> None:
    assert parse(THREE | ONE_LINK | {"mtu": 1280}).relayed_links[0].mtu == 1280


# --- what nodes and relays are told


def test_the_relay_of_node_a() -> None:
    mesh = parse(THREE | ONE_LINK)
    assert relay.render(mesh, KEYS, mesh.node("node-a")) == RELAY_OF_NODE_A


def test_anybody_may_come_to_a_relay_that_is_published() -> None:
    mesh = parse(THREE | {"proxyPort": 8443})
    told = json.loads(relay.render(mesh, KEYS, mesh.node("node-a")))
    assert (told["outgoing"], told["incoming"][0]["sources"]) == ([], ["0.0.0.0/0"])


def test_only_the_pair_is_told_of_its_relays_and_mtu() -> None:
    before, after = parse(THREE), parse(THREE | ONE_LINK)
    assert node_files(before, KEYS, before.node("node-c")) == node_files(after, KEYS, after.node("node-c"))
    files = node_files(after, KEYS, after.node("node-a"))
    assert "Endpoint = 172.20.128.1:1026\n" in files["wg0.conf"]
    assert "Endpoint = 172.20.0.4:51820\n" in files["wg0.conf"]
    assert 'LINK_ROUTES="10.0.0.2:1376 10.64.2.0/24:1376"\n' in files["node.env"]


@given(linked())
def test_every_way_out_of_a_relay_is_a_way_into_the_peers(config: dict[str, Any]) -> None:
    mesh = parse(config)
    told = {node.name: settings.parse(json.loads(relay.render(mesh, KEYS, node))) for node in mesh.proxied}
    assert set(told) == {name for link in mesh.relayed_links for name in link.between}
    for node in mesh.proxied:
        ways = {one.listen: one for one in told[node.name] if isinstance(one, settings.Outgoing)}
        for peer in [peer for peer in mesh.peers_of(node) if mesh.link(node, peer)]:
            listen = mesh.relay_endpoint(node, peer).split(":")
            way = ways.pop((listen[0], int(listen[1])))
            (door,) = [one for one in told[peer.name] if isinstance(one, settings.Incoming)]
            assert way.forward == door.listen
            assert door.forward == (str(peer.underlay), mesh.listen_port)
            assert way.peer == door_of(mesh, node)
            assert way.sources == (IPv4Network(node.underlay),)
            assert any(IPv4Address(ways_address) in source for source in door.sources for ways_address in [listen[0]])
        assert ways == {}


def door_of(mesh: Topology, node: Node) -> tuple[str, int]:
    return str(node.underlay), mesh.listen_port


@given(linked())
def test_relays_have_addresses_of_their_own(config: dict[str, Any]) -> None:
    mesh = parse(config)
    relays = [mesh.proxy_address(node) for node in mesh.proxied]
    others = [mesh.underlay_gateway, *(node.underlay for node in mesh.nodes)]
    assert len({*relays, *others}) == len(relays) + len(others)
    assert all(one in mesh.underlay_range and one != mesh.underlay_range.broadcast_address for one in relays)


def test_a_link_that_chooses_by_itself_starts_with_udp_and_knows_the_way_over_tcp() -> None:
    mesh = parse(THREE | {"links": [ONE_LINK["links"][0] | {"transport": "auto"}]})
    files = node_files(mesh, KEYS, mesh.node("node-a"))
    key = KEYS.private_key("node-b", 1).public().base64()
    assert files["paths"] == f"node-b 10.0.0.2 {key} 172.20.0.3:51820 172.20.128.1:1026 172.20.128.2/1024\n"
    assert "Endpoint = 172.20.0.3:51820\n" in files["wg0.conf"]
    assert "10.0.0.2:1376" in files["node.env"]
    assert [node.name for node in mesh.proxied] == ["node-a", "node-b"]
    assert node_files(mesh, KEYS, mesh.node("node-c"))["paths"] == ""


def test_a_gateway_is_where_the_relays_of_the_others_connect_and_may_speak_tls() -> None:
    tls = {"name": "node-a.gateway.example", "authorities": ""}
    nodes = [A | {"ingress": GATEWAY | {"tls": tls}}, *THREE["nodes"][1:]]
    mesh = parse(THREE | ONE_LINK | {"nodes": nodes})
    here, there = (json.loads(relay.render(mesh, KEYS, mesh.node(name))) for name in ("node-a", "node-b"))
    assert [(way["forward"], way["tls"]) for way in there["outgoing"]] == [("gateway.example:443", tls)]
    assert [(way["forward"], way["tls"]) for way in here["outgoing"]] == [("172.20.128.2:51820", None)]
    assert here["incoming"][0]["sources"] == ["0.0.0.0/0"], "who comes through a gateway has its address"
    assert there["incoming"][0]["sources"] == ["172.20.0.0/16"]


# --- what is wrong

GATEWAY = {"endpoint": "gateway.example:443"}
WRONG_INGRESSES: list[tuple[object, list[tuple[str, object]]]] = [
    ("x:1", [("nodes[0].ingress", "x:1"), ("nodes[0].ingress.endpoint", None)]),
    ({}, [("nodes[0].ingress.endpoint", None)]),
    ({"endpoint": "x"}, [("nodes[0].ingress.endpoint", "x")]),
    ({"endpoint": "x:0"}, [("nodes[0].ingress.endpoint", "x:0")]),
    ({"endpoint": "x:65536"}, [("nodes[0].ingress.endpoint", "x:65536")]),
    ({"endpoint": "[::1]:1"}, [("nodes[0].ingress.endpoint", "[::1]:1")]),
    (GATEWAY | {"tls": {}}, [("nodes[0].ingress.tls.name", None)]),
    (GATEWAY | {"tls": {"name": "*.x"}}, [("nodes[0].ingress.tls.name", "*.x")]),
    (GATEWAY | {"tls": {"name": "x", "authorities": "y"}}, [("nodes[0].ingress.tls.authorities", "y")]),
    (GATEWAY | {"tls": True}, [("nodes[0].ingress.tls", True), ("nodes[0].ingress.tls.name", None)]),
    (GATEWAY | {"port": 1}, [("nodes[0].ingress.port", 1)]),
]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"transport": "pigeon"}, [("transport", "pigeon")]),
        ({"transport": None}, [("transport", None)]),
        ({"proxyPort": 65536}, [("proxyPort", 65536)]),
        ({"proxyPort": 65534}, [("proxyPort", 65534)]),
        ({"links": {}}, [("links", {})]),
        ({"links": ["x"]}, [("links[0]", "x"), ("links[0].between", None), ("links[0].transport", None)]),
        (
            {"links": [{"between": ["node-a", "node-x"], "transport": "tcp"}]},
            [("links[0].between", ["node-a", "node-x"])],
        ),
        (
            {"links": [{"between": ["node-a", "node-a"], "transport": "tcp"}]},
            [("links[0].between", ["node-a", "node-a"])],
        ),
        ({"links": [{"between": "node-a", "transport": "tcp"}]}, [("links[0].between", "node-a")]),
        ({"links": ONE_LINK["links"] * 2}, [("links[1].between", ["node-a", "node-b"])]),
        ({"links": [ONE_LINK["links"][0] | {"mtu": 1421}]}, [("links[0].mtu", 1421)]),
        ({"links": [ONE_LINK["links"][0] | {"mtu": 500}]}, [("links[0].mtu", 500)]),
        ({"links": [{"between": ["node-a", "node-b"], "transport": "udp", "mtu": 1300}]}, [("links[0].mtu", 1300)]),
        ({"links": [ONE_LINK["links"][0] | {"tls": True}]}, [("links[0].tls", True)]),
        ({"transport": "tcp", "underlayRange": "172.20.0.0/29"}, [("nodes", 3)]),
        *(
            (ONE_LINK | {"nodes": [A | {"ingress": value}, *THREE["nodes"][1:]]}, expected)
            for value, expected in WRONG_INGRESSES
        ),
        ({"nodes": [A | {"ingress": GATEWAY}, *THREE["nodes"][1:]]}, [("nodes[0].ingress", GATEWAY)]),
        ({"nodes": [A, {"name": "mullvad-proxy-node-a"}]}, [("nodes[1].name", "mullvad-proxy-node-a")]),
    ],
    ids=repr,
)
def test_a_mistake(change: dict[str, Any], expected: list[tuple[str, object]]) -> None:
    assert mistakes(THREE | change) == expected


@given(configs())
def test_links_break_no_parser(config: dict[str, Any]) -> None:
    check(config | ONE_LINK)
