"""Changing the mesh touches what changed and nothing else."""

from concurrent.futures import ThreadPoolExecutor

from tests.integration.conftest import CONFIG, NODES
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import Stack

BYSTANDERS = ("it-a", "it-b", "it-server", "it-client")
THREE = [*NODES, {"name": "c"}]


def pinged_200_times(hosts: Hosts) -> str:
    """What ping says of 200 pings at 20 a second from a to b."""
    return hosts.run("it-a", "ping", "-q", "-i", "0.05", "-c", "200", "10.70.0.2")[1]


def test_an_added_node_joins_and_no_other_tunnel_blinks(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*BYSTANDERS)
    eventually(lambda: hosts.pings("it-a", "10.70.0.2"), 10, "the tunnel works before the change")
    with ThreadPoolExecutor() as pool:
        report = pool.submit(pinged_200_times, hosts)
        mesh.up(nodes=THREE)
        assert "200 packets transmitted, 200 received" in report.result()
    assert hosts.ids(*BYSTANDERS) == before
    assert hosts.pings("it-c", "10.70.0.1")
    assert hosts.pings("it-c", "10.70.0.2")
    assert "has address 10.70.0.3" in hosts.out("it-client", "host", "c.vpn.dstack")


def test_a_removed_node_is_cut_off_and_nobody_moves(mesh: Stack, hosts: Hosts) -> None:
    # Listed first, so that its removal would move the others if addresses followed the order.
    mesh.up(nodes=[{"name": "c"}, *NODES])
    key = mesh.outputs()["nodes"]["c"]["publicKey"]
    before = hosts.ids(*BYSTANDERS)
    assert key in hosts.peers("it-a")
    mesh.up(**CONFIG)
    eventually(lambda: key not in hosts.peers("it-a") | hosts.peers("it-b"), 2, "the removed node's peer is gone")
    assert hosts.ids(*BYSTANDERS) == before
    assert hosts.run("it-client", "host", "c.vpn.dstack")[0] != 0
    assert hosts.page("it-client", "it-server")


def test_new_keys_replace_no_container(mesh: Stack, hosts: Hosts) -> None:
    old = mesh.outputs()["nodes"]["a"]["publicKey"]
    before = hosts.ids(*BYSTANDERS)
    mesh.up(keyGeneration=2)
    new = mesh.outputs()["nodes"]["a"]["publicKey"]
    assert new != old
    assert hosts.peers("it-b") == {new}
    eventually(lambda: hosts.pings("it-a", "10.70.0.2"), 10, "the tunnel works with the new keys")
    assert hosts.ids(*BYSTANDERS) == before
    mesh.up(keyGeneration=1)
    assert hosts.peers("it-b") == {old}


def test_mtu_and_keepalive_change_live(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*BYSTANDERS)
    mesh.up(mtu=1380, keepalive=5)
    assert "mtu 1380" in hosts.out("it-a", "ip", "link", "show", "wg0")
    assert "every 5 seconds" in hosts.out("it-a", "wg", "show", "wg0")
    mesh.up(mtu=1420, keepalive=0)
    assert "mtu 1420" in hosts.out("it-a", "ip", "link", "show", "wg0")
    assert "keepalive" not in hosts.out("it-a", "wg", "show", "wg0")
    assert hosts.ids(*BYSTANDERS) == before


def test_another_range_and_domain_leave_nothing_of_the_old(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids("it-a", "it-b")
    mesh.up(vpnRange="10.72.0.0/24", domain="moved.dstack")
    assert hosts.ids("it-a", "it-b") == before
    routes = hosts.out("it-a", "ip", "route", "show")
    assert "10.72.0.0/24" in routes
    assert "10.70.0.0/24" not in routes
    assert "has address 10.72.0.1" in hosts.out("it-client", "host", "a.moved.dstack")
    assert hosts.run("it-client", "host", "a.vpn.dstack")[0] != 0
    assert hosts.pings("it-b", "10.72.0.1")


# `cut` is what a pass runs last but one: this makes it linger there.
SLOW_APPLY = 'cut() { touch /run/lingers; sleep 3; command cut "$@"; }; export -f cut; apply'
OFFER = """cd /etc/wireguard && sed -i s/MTU=.*/MTU=1300/ node.env &&
    sha256sum hosts nftables.nft node.env wg0.conf >/run/sums && cp /run/sums SHA256SUMS"""


def test_a_config_that_comes_during_a_pass_is_applied_by_the_next(mesh: Stack, hosts: Hosts) -> None:
    assert mesh.config.get("mtu") is None
    hosts.get("it-config").stop(timeout=1)
    with hosts.paused_agent("it-b"), ThreadPoolExecutor() as pool:
        hosts.out("it-b", "rm", "-f", "/run/wireguard/seen")
        during = pool.submit(hosts.out, "it-b", "bash", "-c", SLOW_APPLY)
        eventually(lambda: hosts.run("it-b", "test", "-e", "/run/lingers")[0] == 0, 20, "the pass is about to end")
        hosts.out("it-b", "sh", "-c", OFFER)
        assert during.result().startswith("ok")
        hosts.out("it-b", "apply")
        assert "mtu 1300" in hosts.out("it-b", "ip", "link", "show", "wg0")
    mesh.up()
    assert "mtu 1420" in hosts.out("it-b", "ip", "link", "show", "wg0")


def test_a_mistake_is_reported_whole_and_touches_nothing(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*BYSTANDERS)
    missing = {"name": "own", "node": "a", "build": "docker/missing"}
    mesh.configure(vpnRange="10.71.0.0/24", nodes=[{"name": "A"}, *NODES, {"name": "b"}], workloads=[missing])
    report = mesh.run("up", "--yes", "--skip-preview").stdout
    assert "the configuration has 4 mistakes; nothing was touched" in report
    for path in ("nodes[0].name", "nodes[3].name", "siteRange", "workloads[0].build"):
        assert path in report
    assert "Traceback" not in report
    assert hosts.ids(*BYSTANDERS) == before
