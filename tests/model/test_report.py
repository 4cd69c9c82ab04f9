"""What config carriers hand on of their nodes."""

import pytest

from vpn.model.report import Tunnel, parse

SUM = "0123456789abcdef" * 4
TEXT = f"""\
1764000000.250000000
100.50 180.00
{SUM}  /config/node-a/SHA256SUMS
{SUM[::-1]}  /config/node-a/applied
{SUM}  /config/gate/SHA256SUMS
## /config/node-a/report
# uptime
98.25
# state
ok 0123456789ab userspace wireguard-go
# dataplane
userspace wireguard-go
# public-key
OWN=
# latest-handshakes
ONE=\t1763999990
TWO=\t0
COMES=\t5
# transfer
ONE=\t148\t92
TWO=\t0\t7
# endpoints
ONE=\t172.20.0.3:51820
TWO=\t(none)
"""


def test_a_report_is_read() -> None:
    host = parse(TEXT)
    assert host.clock == 1764000000.25
    assert host.wanted == {"node-a": "0123456789ab", "gate": "0123456789ab"}
    assert host.applied == {"node-a": "fedcba987654"}
    node = host.nodes["node-a"]
    assert node.age == 2.25
    assert (node.state, node.dataplane) == ("ok 0123456789ab userspace wireguard-go", "userspace wireguard-go")
    assert node.public_key == "OWN="


def test_never_and_nowhere_are_told_from_long_ago() -> None:
    tunnels = parse(TEXT).nodes["node-a"].tunnels
    assert tunnels["ONE="] == Tunnel(handshake=1763999990, received=148, sent=92, endpoint="172.20.0.3:51820")
    assert tunnels["TWO="] == Tunnel(handshake=0, received=0, sent=7, endpoint="")


def test_a_peer_that_came_between_two_questions_is_left_out() -> None:
    assert set(parse(TEXT).nodes["node-a"].tunnels) == {"ONE=", "TWO="}


def test_a_node_without_an_interface_has_no_tunnels() -> None:
    sections = ["dataplane", "public-key", "latest-handshakes", "transfer", "endpoints"]
    empty = "# uptime\n1\n# state\nfailed: no tun\n" + "".join(f"# {one}\n" for one in sections)
    host = parse(f"{TEXT.partition('##')[0]}## /config/b/report\n{empty}")
    assert host.nodes["b"].state == "failed: no tun"
    assert host.nodes["b"].tunnels == {}


@pytest.mark.parametrize("text", [TEXT.replace("98.25", "soon"), TEXT.partition("# transfer")[0]])
def test_a_broken_report_is_the_trouble_of_its_node_alone(text: str) -> None:
    host = parse(text)
    assert host.nodes["node-a"].state.startswith("failed: its report is broken")
    assert host.wanted == parse(TEXT).wanted


@pytest.mark.parametrize("text", ["", "carrier: not found", "5", "soon\nlater"])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)
