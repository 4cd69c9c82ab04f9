"""Hosts, what gets in at them, and what follows for links: who opens them, by which transport, and through whom."""

import json
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.example import KEYS
from tests.model.test_config import mistakes
from vpn import outputs
from vpn.model import firewall, paths, relay, wgconf
from vpn.model.config import parse
from vpn.model.hosts import LOCAL
from vpn.model.problems import ConfigError
from vpn.model.topology import Topology

FRA = {"name": "fra", "docker": "ssh://ops@fra.example.org", "address": "198.51.100.1", "region": "eu"}
NYC = {"name": "nyc", "docker": "unix:///run/nyc.sock", "address": "198.51.100.2", "region": "us", "inbound": "tcp"}
HOME = {"name": "home", "docker": "unix:///run/home.sock", "region": "ap", "inbound": "none"}
CAFE = {"name": "cafe", "docker": "unix:///run/cafe.sock", "region": "ap", "inbound": "none"}
PLACES = {"fra-1": "fra", "fra-2": "fra", "nyc-1": "nyc", "home-1": "home", "cafe-1": "cafe"}
NODES = [{"name": name, "host": host} for name, host in PLACES.items()]
WIDE: dict[str, Any] = {"hosts": [FRA, NYC, HOME, CAFE], "nodes": NODES, "proxyPort": 8443}


def sections(mesh: Topology, node: str) -> dict[str, dict[str, str]]:
    """The peers of a node in its WireGuard configuration, by name."""
    texts = wgconf.render(mesh, KEYS, mesh.node(node)).split("[Peer]\n")[1:]
    found = {}
    for text in texts:
        name, *lines = text.strip().splitlines()
        found[name.removeprefix("# ")] = dict(line.split(" = ", 1) for line in lines)
    return found


def endpoints(mesh: Topology, node: str) -> dict[str, str | None]:
    return {peer: section.get("Endpoint") for peer, section in sections(mesh, node).items()}


def test_without_hosts_all_nodes_are_on_the_engine_that_docker_finds() -> None:
    mesh = parse({"nodes": [{"name": "a"}, {"name": "b"}]})
    assert mesh.hosts == (LOCAL,)
    assert LOCAL.docker is None


def test_a_single_host_need_not_be_named_by_its_nodes() -> None:
    mesh = parse({"hosts": [{"name": "fra"}], "nodes": [{"name": "a"}]})
    assert mesh.node("a").host.name == "fra"


# --- who reaches whom

INBOUND = st.sampled_from(["udp", "tcp", "none"])


def host_of(number: int, inbound: str) -> dict[str, Any]:
    host = {"name": f"h{number}", "docker": f"unix:///{number}", "inbound": inbound}
    return host if inbound == "none" else host | {"address": f"10.9.0.{number}"}


def test_where_udp_gets_in_the_others_go_straight_there_and_are_waited_for() -> None:
    mesh = parse(WIDE)
    assert endpoints(mesh, "home-1")["fra-2"] == "198.51.100.1:51821"
    assert endpoints(mesh, "fra-2")["home-1"] is None, "nothing gets in there: home begins"
    assert endpoints(mesh, "fra-1")["fra-2"] == "172.20.0.3:51820", "on one host they meet on its underlay"


def test_where_only_tcp_gets_in_a_relay_connects_and_the_other_end_waits() -> None:
    mesh = parse(WIDE)
    assert endpoints(mesh, "home-1")["nyc-1"] == mesh.relay_endpoint(mesh.node("home-1"), mesh.node("nyc-1"))
    assert endpoints(mesh, "nyc-1")["home-1"] is None
    ways = json.loads(relay.render(mesh, KEYS, mesh.node("home-1")))["outgoing"]
    assert [(way["forward"], way["mutual"]) for way in ways] == [("198.51.100.2:8445", False)]


def test_two_that_nobody_reaches_meet_at_two_relays_on_different_hosts() -> None:
    mesh = parse(WIDE)
    here, there = (json.loads(relay.render(mesh, KEYS, mesh.node(name))) for name in ("home-1", "cafe-1"))
    (mine,), (theirs,) = here["meetings"], there["meetings"]
    assert {mine["side"], theirs["side"]} == {0, 1}
    assert [way["forward"] for way in mine["ways"]] == ["198.51.100.1:8443", "198.51.100.2:8445"]
    assert [(way["name"], way["key"]) for way in mine["ways"]] == [(way["name"], way["key"]) for way in theirs["ways"]]
    for way in mine["ways"]:
        places = json.loads(relay.render(mesh, KEYS, mesh.node(way["name"])))["places"]
        assert places == [{"key": way["key"]}]
    assert json.loads(relay.render(mesh, KEYS, mesh.node("fra-2")))["places"] == []


def test_a_relay_cannot_tell_the_key_of_another_or_of_a_tunnel() -> None:
    mesh = parse(WIDE)
    keys = {way["key"] for way in json.loads(relay.render(mesh, KEYS, mesh.node("home-1")))["meetings"][0]["ways"]}
    assert len(keys) == 2
    assert not any(key in wgconf.render(mesh, KEYS, node) for key in keys for node in mesh.nodes)


def test_relays_can_be_chosen() -> None:
    mesh = parse(WIDE | {"relays": ["nyc-1", "fra-2"]})
    link = mesh.link(mesh.node("home-1"), mesh.node("cafe-1"))
    assert link is not None
    assert link.through == ("nyc-1", "fra-2")


def test_a_node_behind_nat_keeps_its_way_open_even_if_nobody_else_does() -> None:
    mesh = parse(WIDE | {"keepalive": 0})
    assert sections(mesh, "home-1")["fra-1"]["PersistentKeepalive"] == "25"
    assert sections(mesh, "fra-1")["home-1"]["PersistentKeepalive"] == "0"
    assert sections(mesh, "fra-1")["fra-2"]["PersistentKeepalive"] == "0"


@given(
    st.lists(st.sampled_from(["udp", "tcp", "none"]), min_size=2, max_size=4), st.sampled_from(["udp", "tcp", "auto"])
)
def test_of_every_pair_one_end_can_begin_or_both_meet_and_the_other_end_knows(inbound: list[str], how: str) -> None:
    hosts = [
        {"name": f"h{at}", "docker": f"unix:///{at}", "inbound": kind}
        | ({"address": f"10.9.0.{at}"} if kind != "none" else {})
        for at, kind in enumerate(["udp", *inbound])
    ]
    nodes = [{"name": f"n{at}", "host": host["name"]} for at, host in enumerate(hosts)]
    mesh = parse({"hosts": hosts, "nodes": nodes, "proxyPort": 8443, "transport": how})
    for one, other in combinations(mesh.nodes, 2):
        link = mesh.link(one, other)
        begins = [end for end in ((one, other), (other, one)) if mesh.endpoint(*end)]
        assert begins, "somebody must begin"
        for node, peer in begins if link and not link.auto else ():
            assert mesh.relays_from(node, peer), "what goes to a relay of one's own goes on from there"


def test_a_new_node_changes_no_link_of_others() -> None:
    before, after = parse(WIDE), parse(WIDE | {"nodes": [*NODES, {"name": "nyc-2", "host": "nyc"}]})
    assert set(before.relayed_links) <= set(after.relayed_links)
    for node in before.nodes:
        kept = {name: peer for name, peer in sections(after, node.name).items() if name != "nyc-2"}
        assert kept == sections(before, node.name)


# --- topologies

GATEWAYS = {"topology": "regions", "gateways": ["fra-1", "nyc-1", "home-1"]}


@pytest.mark.parametrize(
    ("change", "tunnels"),
    [
        ({}, {"fra-1": 4, "fra-2": 4, "nyc-1": 4, "home-1": 4, "cafe-1": 4}),
        ({"topology": "hub", "hub": "nyc-1"}, {"fra-1": 1, "fra-2": 1, "nyc-1": 4, "home-1": 1, "cafe-1": 1}),
        (GATEWAYS, {"fra-1": 3, "fra-2": 1, "nyc-1": 2, "home-1": 3, "cafe-1": 1}),
    ],
)
def test_the_tunnels_of_a_topology(change: dict[str, Any], tunnels: dict[str, int]) -> None:
    mesh = parse(WIDE | change)
    assert {node.name: len(mesh.peers_of(node)) for node in mesh.nodes} == tunnels
    assert outputs.links(mesh)["tunnels"] == sum(tunnels.values()) / 2


@pytest.mark.parametrize("change", [{}, {"topology": "hub", "hub": "fra-2"}, GATEWAYS])
def test_every_packet_comes_from_the_peer_by_which_the_answer_goes(change: dict[str, Any]) -> None:
    """A node takes a source address only from the peer to whom it would send that (WireGuard paper, 2)."""
    mesh = parse(WIDE | change)
    for one in mesh.nodes:
        assert len({end for peer in mesh.peers_of(one) for end in mesh.behind(one, peer)}) == len(mesh.nodes) - 1
        for other in mesh.nodes:
            route = mesh.shape.route(one.name, other.name) if one != other else ()
            for here, there in pairwise(route):
                assert other in mesh.behind(mesh.node(here), mesh.node(there))
                assert one in mesh.behind(mesh.node(there), mesh.node(here))


def test_a_gateway_hands_on_what_the_rules_let_pass_and_nothing_else() -> None:
    rules = [{"from": "cafe-1", "to": "fra-2", "ports": 80}]
    mesh = parse(WIDE | GATEWAYS | {"rules": rules})
    assert mesh.shape.route("cafe-1", "fra-2") == ("cafe-1", "home-1", "fra-1", "fra-2")
    assert [peer.name for peer in mesh.peers_of(mesh.node("home-1"))] == ["fra-1", "cafe-1"]
    assert mesh.peers_of(mesh.node("nyc-1")) == ()
    assert [other.name for other in mesh.talks_with(mesh.node("cafe-1"))] == ["fra-2", "home-1"]
    filters = {node.name: firewall.render(mesh, node) for node in mesh.nodes}
    cafe, fra = mesh.node("cafe-1").address, mesh.node("fra-2").address
    for name in ("cafe-1", "home-1", "fra-1", "fra-2"):
        ports = filters[name].partition("set ports {")[2].partition("}")[0]
        assert f"{cafe} . {fra} . tcp . 80" in ports
        assert f"{fra} . {cafe}" not in ports
    assert "tcp . 80" not in filters["nyc-1"]
    hands_on = 'iifname "wg0" oifname "wg0" jump rules'
    assert {name for name, text in filters.items() if hands_on in text} == {"home-1", "fra-1"}


# --- mistakes

TCP_ONLY = [FRA | {"inbound": "tcp"}, NYC]
TWO = [{"name": "a", "host": "fra"}, {"name": "b", "host": "nyc"}]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nodes": [{"name": "a", "host": "fra"}, {"name": "b", "host": "far"}]}, [("nodes[1].host", "far")]),
        ({"nodes": [{"name": "a", "host": "fra"}, {"name": "b"}]}, [("nodes[1].host", None)]),
        ({"hosts": [FRA, NYC | {"docker": "http://nyc"}]}, [("hosts[1].docker", "http://nyc")]),
        ({"hosts": [FRA, NYC | {"docker": "tcp://nyc:2376"}]}, [("hosts[1].certificates", None)]),
        ({"hosts": [FRA, NYC | {"certificates": "folder"}]}, [("hosts[1].certificates", "folder")]),
        ({"hosts": [FRA, NYC | {"address": None}]}, [("hosts[1].address", None)]),
        ({"hosts": [FRA, NYC | {"address": "nyc.example.org"}]}, [("hosts[1].address", "nyc.example.org")]),
        ({"hosts": [FRA, NYC | {"address": FRA["address"]}]}, [("hosts[1].address", FRA["address"])]),
        ({"hosts": [FRA, NYC | {"inbound": "all"}]}, [("hosts[1].inbound", "all")]),
        ({"hosts": [FRA, NYC | {"docker": FRA["docker"]}]}, [("hosts[1].docker", FRA["docker"])]),
        ({"hosts": [FRA, NYC | {"ssh": "x"}]}, [("hosts[1].ssh", "x")]),
        ({"hosts": [FRA, NYC], "hostPort": 0}, [("hostPort", 0)]),
        ({"hosts": TCP_ONLY, "proxyPort": 0}, [("proxyPort", 0)]),
        ({"hosts": [FRA, NYC], "access": {"enabled": True}}, [("access.rpcUrl", None)]),
        ({"topology": "star"}, [("topology", "star")]),
        ({"topology": "hub"}, [("hub", "")]),
        ({"hub": "a"}, [("hub", "a")]),
        ({"topology": "hub", "hub": "c"}, [("hub", "c")]),
        ({"gateways": ["a"]}, [("gateways", ["a"])]),
        ({"topology": "regions", "gateways": ["a"]}, [("gateways", ["a"])]),
        ({"topology": "regions", "gateways": ["a", "b", "c"]}, [("gateways[2]", "c")]),
        ({"relays": ["c"]}, [("relays[0]", "c")]),
        ({"relays": "a"}, [("relays", "a")]),
        ({"hosts": TCP_ONLY, "links": [{"between": ["a", "b"], "transport": "udp"}]}, [("links[0].transport", "udp")]),
    ],
    ids=repr,
)
def test_a_mistake(change: dict[str, Any], expected: list[tuple[str, object]]) -> None:
    assert mistakes({"hosts": [FRA, NYC], "nodes": TWO, "proxyPort": 8443} | change) == expected


def test_a_host_keeps_its_name() -> None:
    config = {"hosts": [{"name": "home", "inbound": "none"}, NYC], "nodes": [{"name": "a", "host": "home"}]}
    with pytest.raises(ConfigError, match="call it local"):
        parse(config, engines={None: "local"})
    assert parse(config, engines={None: "home", "unix:///gone": "nyc"})


@pytest.mark.parametrize(
    ("transport", "order"), [("auto", TWO), ("auto", TWO[::-1]), ("tcp", TWO), ("tcp", TWO[::-1])], ids=repr
)
def test_one_end_of_a_link_between_hosts_begins_by_every_way(transport: str, order: list[Any]) -> None:
    mesh = parse({"hosts": [FRA, NYC], "nodes": order, "proxyPort": 8443, "transport": transport, "keepalive": 0})
    ends = ((mesh.node("a"), mesh.node("b")), (mesh.node("b"), mesh.node("a")))
    lines = [paths.render(mesh, KEYS, node) for node, _ in ends]
    assert [bool(line) for line in lines].count(True) == (transport == "auto")
    begins = [mesh.relays_from(*end) != () for end in ends]
    assert sorted(begins) == [False, True]
    beginner = mesh.node("a" if begins[0] else "b")
    assert sections(mesh, beginner.name)["b" if begins[0] else "a"]["PersistentKeepalive"] == "25"


def test_over_tcp_alone_no_udp_port_need_be_published() -> None:
    assert parse({"hosts": [FRA, NYC], "nodes": TWO, "proxyPort": 8443, "hostPort": 0, "transport": "tcp"})


@pytest.mark.parametrize(
    "address", ["ssh://h:abc", "ssh://h:99999", "ssh://[x", "ssh://u@", "tcp://h:99999", "tcp://h:0", "ssh://h/x", 5]
)
def test_what_is_no_address_of_an_engine(address: object) -> None:
    assert mistakes({"hosts": [{"name": "x", "docker": address}], "nodes": [{"name": "a"}]})[0][0] == "hosts[0].docker"


def test_a_password_is_refused_and_not_shown() -> None:
    hosts = [{"name": "x", "docker": "ssh://me:secret@h"}]
    assert mistakes({"hosts": hosts, "nodes": [{"name": "a"}]}) == [("hosts[0].docker", "(not shown)")]


def test_two_that_nobody_reaches_have_no_path_without_a_third() -> None:
    nodes = [{"name": "a", "host": "home"}, {"name": "b", "host": "home"}, {"name": "c", "host": "cafe"}]
    assert mistakes({"hosts": [HOME, CAFE], "nodes": nodes}) == [("hosts", "cafe and home")]
    rules = [{"from": "a", "to": "b"}]
    assert parse({"hosts": [HOME, CAFE], "nodes": nodes, "rules": rules}), "who never talks needs no path"


# --- what the plan tells


def test_what_is_kept_open_for_who_cannot_begin_is_told_when_nothing_else_is() -> None:
    kept = outputs.links(parse(WIDE | {"keepalive": 0}))["keepalives"]
    assert "home-1 - nyc-1" in kept
    assert "fra-1 - fra-2" not in kept
    assert set(kept.values()) == {25}


def test_the_links_between_hosts_and_why_they_go_so() -> None:
    links = outputs.links(parse(WIDE))
    assert links == {
        "tunnels": 10,
        "transports": {"relays": 1, "tcp": 2, "udp": 7},
        "keepalive": 25,
        "keepalives": {},
        "mostOfANode": 4,
        "between": {
            "cafe - fra": "UDP, opened from cafe: nothing gets in there",
            "cafe - home": "over TCP by the relays of fra-1, nyc-1: nothing gets in at either",
            "cafe - nyc": "TCP, opened from cafe: nothing gets in there",
            "fra - home": "UDP, opened from home: nothing gets in there",
            "fra - nyc": "UDP, opened from nyc: only TCP gets in there",
            "home - nyc": "TCP, opened from home: nothing gets in there",
        },
    }
