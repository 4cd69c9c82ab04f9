"""The file with which a member joins."""

from ipaddress import IPv4Address, IPv4Network

from tests.model.example import KEYS, NODE_A
from vpn.model.wgquick import MemberPeer, render

KEY = KEYS.private_key("somebody", 1)
PEER = MemberPeer(
    name=NODE_A.name,
    public_key=KEYS.private_key(NODE_A.name, 1).public(),
    allowed=(IPv4Network(NODE_A.address), NODE_A.site),
    endpoint="vpn.example.org:51820",
)
FILE = f"""\
[Interface]
PrivateKey = {KEY.base64()}
Address = 10.65.0.7/32
MTU = 1420

[Peer]
# node-a
PublicKey = BLWV2dMEZgI15/DBn3kBEiUskykrMt2Y1SeBJZcoQxQ=
AllowedIPs = 10.0.0.1/32, 10.64.1.0/24
Endpoint = vpn.example.org:51820
PersistentKeepalive = 25
"""


def test_the_file_of_a_member() -> None:
    assert render(KEY, IPv4Address("10.65.0.7"), 1420, [PEER]) == FILE


def test_a_device_that_asks_the_nodes_for_names() -> None:
    text = render(KEY, IPv4Address("10.65.0.7"), 1420, [PEER], ["10.0.0.1", "vpn.dstack"])
    assert text == FILE.replace("MTU = 1420\n", "MTU = 1420\nDNS = 10.0.0.1, vpn.dstack\n")


def test_every_node_is_a_peer() -> None:
    assert render(KEY, IPv4Address("10.65.0.7"), 1420, [PEER, PEER]).count("[Peer]") == 2
