"""The WireGuard text of every node fits that of every other."""

from ipaddress import IPv4Network

from hypothesis import given

from tests.model.example import KEYS, MESH, NODE_A, NODE_B
from tests.model.strategies import key_rings, topologies
from vpn.model import wgconf
from vpn.model.keys import KeyRing, PrivateKey
from vpn.model.topology import Topology

WG0_OF_NODE_A = """\
[Interface]
PrivateKey = +C0/yeDrsOuTQdQjk+BP6C9qsFuBIVQqZhLbxjOkKmo=
ListenPort = 51820
FwMark = 0

[Peer]
# node-b
PublicKey = QAhfL+4eEJb8s2wnYO/xldKDjdxqV9XsoBcmvp6Q5Q0=
PresharedKey = TzSNykC+2Rfhj8r9KG0jxJ5ZTIHdGEC9GbOV8AjTffU=
AllowedIPs = 10.0.0.2/32, 10.64.2.0/24
Endpoint = 172.20.0.3:51820
PersistentKeepalive = 25
"""

WG0_OF_NODE_B = """\
[Interface]
PrivateKey = OKHxg+HOBUYUvIVee+VDRyLDhkBpHlh3z4gvsBw3+F8=
ListenPort = 51820
FwMark = 0

[Peer]
# node-a
PublicKey = BLWV2dMEZgI15/DBn3kBEiUskykrMt2Y1SeBJZcoQxQ=
PresharedKey = TzSNykC+2Rfhj8r9KG0jxJ5ZTIHdGEC9GbOV8AjTffU=
AllowedIPs = 10.0.0.1/32, 10.64.1.0/24
Endpoint = 172.20.0.2:51820
PersistentKeepalive = 25
"""

Section = dict[str, str]


def read(text: str) -> tuple[Section, dict[str, Section]]:
    """The interface, and the peers by their public keys."""
    interface, *peers = [
        dict(line.split(" = ") for line in section.splitlines() if " = " in line) for section in text.split("\n\n")
    ]
    return interface, {peer["PublicKey"]: peer for peer in peers}


def read_all(mesh: Topology, keys: KeyRing) -> dict[str, tuple[Section, dict[str, Section]]]:
    """The texts of all nodes, by the public key that belongs to the private key in each."""
    texts = [read(wgconf.render(mesh, keys, node)) for node in mesh.nodes]
    return {
        PrivateKey.parse(interface["PrivateKey"]).public().base64(): (interface, peers) for interface, peers in texts
    }


def test_two_nodes() -> None:
    assert wgconf.render(MESH, KEYS, NODE_A) == WG0_OF_NODE_A
    assert wgconf.render(MESH, KEYS, NODE_B) == WG0_OF_NODE_B


@given(topologies(), key_rings())
def test_every_node_names_the_public_keys_of_all_others(mesh: Topology, keys: KeyRing) -> None:
    texts = read_all(mesh, keys)
    assert len(texts) == len(mesh.nodes)
    assert {name: set(peers) for name, (_, peers) in texts.items()} == {name: set(texts) - {name} for name in texts}


@given(topologies(min_nodes=2), key_rings())
def test_both_ends_of_a_pair_have_the_same_preshared_key_and_no_one_else(mesh: Topology, keys: KeyRing) -> None:
    pairs = {
        (frozenset((name, peer)), section["PresharedKey"])
        for name, (_, peers) in read_all(mesh, keys).items()
        for peer, section in peers.items()
    }
    count = len(mesh.nodes) * (len(mesh.nodes) - 1) // 2
    assert [len(pairs), len(dict(pairs)), len({key for _, key in pairs})] == [count] * 3


@given(topologies(), key_rings())
def test_allowed_ips_are_disjoint_and_cover_just_the_other_nodes_and_sites(mesh: Topology, keys: KeyRing) -> None:
    for node in mesh.nodes:
        _, peers = read(wgconf.render(mesh, keys, node))
        allowed = [IPv4Network(text) for peer in peers.values() for text in peer["AllowedIPs"].split(", ")]
        others = [other for other in mesh.nodes if other != node]
        assert sorted(allowed) == sorted([IPv4Network(one.address) for one in others] + [one.site for one in others])
        assert not any(one.overlaps(other) for one in allowed for other in allowed if one is not other)


@given(topologies(), key_rings())
def test_an_endpoint_is_where_the_peer_listens(mesh: Topology, keys: KeyRing) -> None:
    texts = read_all(mesh, keys)
    underlay = dict(zip(texts, [node.underlay for node in mesh.nodes], strict=True))
    for _, peers in texts.values():
        assert {name: peer["Endpoint"] for name, peer in peers.items()} == {
            name: f"{underlay[name]}:{texts[name][0]['ListenPort']}" for name in peers
        }


@given(topologies(), key_rings())
def test_every_setting_is_written_out_also_a_zero(mesh: Topology, keys: KeyRing) -> None:
    """What `wg addconf` does not read, it leaves as it is: a keepalive would stay on for ever."""
    for interface, peers in read_all(mesh, keys).values():
        assert interface["FwMark"] == "0"
        assert {peer["PersistentKeepalive"] for peer in peers.values()} <= {str(mesh.keepalive)}
