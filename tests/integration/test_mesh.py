"""What a user gets from the first `pulumi up`."""

import threading

from tests.integration.capture import capture
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import Stack

PAGE = "it crossed the WireGuard tunnel"


def test_nodes_ping_each_other_through_the_tunnel(mesh: Stack, hosts: Hosts) -> None:
    assert hosts.pings("it-a", "10.70.0.2")
    assert hosts.pings("it-b", "10.70.0.1")
    assert mesh.outputs()["nodes"]["a"]["address"] == "10.70.0.1"


def test_a_page_crosses_the_tunnel_and_the_counters_say_so(mesh: Stack, hosts: Hosts) -> None:
    before = [hosts.transferred(node) for node in ("it-a", "it-b")]
    page = hosts.page("it-client", "it-server")
    assert page
    assert PAGE in page
    after = [hosts.transferred(node) for node in ("it-a", "it-b")]
    assert all(new - old > len(page) for old, new in zip(before, after, strict=True)), mesh.name


def test_names_resolve_to_the_mesh_and_back(mesh: Stack, hosts: Hosts) -> None:
    assert "has address 10.70.0.1" in hosts.out("it-client", "host", "a.vpn.dstack")
    assert "has address 10.71.1.3" in hosts.out("it-client", "host", "it-server.vpn.dstack")
    assert "a.vpn.dstack" in hosts.out("it-client", "host", "10.70.0.1")
    assert mesh.outputs()["workloads"]["it-server"]["address"] == "10.71.1.3"


def test_only_wireguard_is_on_the_underlay(mesh: Stack, hosts: Hosts) -> None:
    network = hosts.client.networks.get(f"{mesh.config['name']}-network")
    with capture(f"br-{network.id[:12]}") as frames:
        page = hosts.page("it-client", "it-server")
    assert page
    between = [frame for frame in frames if {frame.source, frame.target} == {"172.30.0.2", "172.30.0.3"}]
    assert len(between) >= 6, "a page takes more frames than that"
    assert {(frame.protocol, frame.target_port) for frame in between} == {("udp", 51820)}
    assert not any(b"WireGuard" in frame.payload or b"HTTP/1" in frame.payload for frame in between)


def test_without_the_tunnel_nothing_passes_and_nothing_leaks(mesh: Stack, hosts: Hosts) -> None:
    network = hosts.client.networks.get(f"{mesh.config['name']}-network")
    with hosts.paused_agent("it-b"), capture(f"br-{network.id[:12]}") as frames:
        hosts.out("it-b", "ip", "link", "set", "wg0", "down")
        assert hosts.page("it-client", "10.71.1.3") is None
    assert not any(frame.target.startswith("10.7") for frame in frames)
    eventually(lambda: hosts.page("it-client", "it-server") is not None, 10, "the agent brings wg0 up again")


def test_a_workload_cannot_pass_by_its_node(mesh: Stack, hosts: Hosts) -> None:
    assert hosts.out("it-client", "ip", "route", "show", "default").split()[2] == "10.71.2.1"
    assert not hosts.pings("it-client", "172.30.0.2"), "the underlay is not reachable from a site"
    assert mesh.config["underlayRange"] == "172.30.0.0/16"


def test_a_second_up_and_a_refresh_change_nothing(mesh: Stack) -> None:
    assert set(mesh.changes()) == {"same"}
    summary = mesh.up().summary.resource_changes or {}
    assert set(summary) == {"same"}


def test_the_health_check_names_what_is_wrong(mesh: Stack, hosts: Hosts) -> None:
    assert hosts.run("it-a", "health")[0] == 0
    with hosts.paused_agent("it-a"):
        hosts.out("it-a", "ip", "link", "set", "wg0", "down")
        assert hosts.run("it-a", "health") == (1, "wg0 is not up\n")
    eventually(lambda: hosts.run("it-a", "health")[0] == 0, 10, mesh.name)


def test_public_keys_are_those_that_wg_derives(mesh: Stack, hosts: Hosts) -> None:
    derive = "sed -n 's/^PrivateKey = //p' /etc/wireguard/wg0.conf | wg pubkey"
    for name, node in mesh.outputs()["nodes"].items():
        assert hosts.out(f"it-{name}", "sh", "-c", derive).strip() == node["publicKey"]


def test_nodes_are_hardened(mesh: Stack, hosts: Hosts) -> None:
    for name in ("it-a", "it-server", "it-config"):
        host = hosts.get(name).attrs["HostConfig"]
        assert (host["Privileged"], host["CapDrop"], host["SecurityOpt"]) == (False, ["ALL"], ["no-new-privileges"])
        assert host["Memory"] == host["MemorySwap"] > 0
    assert hosts.run("it-a", "touch", "/usr/bin/x")[0] != 0, mesh.name


def test_workloads_reach_each_other_at_once_from_many_sides(mesh: Stack, hosts: Hosts) -> None:
    pages: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: pages.append(hosts.page("it-client", "it-server.vpn.dstack"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len([page for page in pages if page]) == 8, mesh.name
