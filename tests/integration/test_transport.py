"""A link over TCP, where UDP is blocked."""

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.capture import Frame, capture
from tests.integration.hosts import Hosts, eventually
from tests.integration.relays import folder
from tests.integration.stack import Stack
from tests.tls_gateway import Gateway, certified, serving

NAME = "itt"
A, B, RELAY_A, RELAY_B = f"{NAME}-a", f"{NAME}-b", f"{NAME}-mullvad-proxy-a", f"{NAME}-mullvad-proxy-b"
CLIENT, SERVER = f"{NAME}-client", f"{NAME}-server"
CONFIG: dict[str, Any] = {
    "name": NAME,
    "vpnRange": "10.77.0.0/24",
    "underlayRange": "172.27.0.0/16",
    "siteRange": "10.78.0.0/16",
    "hostPort": 0,
    "nodes": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    "links": [{"between": ["a", "b"], "transport": "tcp"}],
    "workloads": [
        {"name": SERVER, "node": "a", "build": "docker/nginx"},
        {"name": CLIENT, "node": "b", "build": "docker/test-client"},
    ],
}
PINGS = ("ping", "-q", "-i", "0.1", "-W", "5", "-c")


@pytest.fixture(scope="module")
def brought_up_over_tcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp(NAME), dict(CONFIG), name=NAME)
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def over_tcp(brought_up_over_tcp: Stack) -> Stack:
    if brought_up_over_tcp.deployed != CONFIG:
        brought_up_over_tcp.up(**CONFIG)
    return brought_up_over_tcp


def frames_of_a_page(stack: Stack, hosts: Hosts) -> list[Frame]:
    network = hosts.client.networks.get(f"{stack.name}-network")
    with capture(f"br-{network.id[:12]}") as frames:
        assert hosts.page(CLIENT, SERVER)
        assert hosts.pings(B, "10.77.0.1")
    return frames


def between(frames: list[Frame], *addresses: str) -> set[str]:
    """Which protocols are spoken between two addresses."""
    return {frame.protocol for frame in frames if {frame.source, frame.target} == set(addresses)}


def test_only_tcp_is_spoken_between_the_two_and_udp_with_the_third(over_tcp: Stack, hosts: Hosts) -> None:
    eventually(lambda: hosts.pings(A, "10.77.0.3"), 10)
    frames = frames_of_a_page(over_tcp, hosts)
    assert between(frames, "172.27.128.1", "172.27.128.2") == {"tcp"}
    ours = {"172.27.0.2", "172.27.128.1"}, {"172.27.0.3", "172.27.128.2"}
    across = [one for one in frames if one.source in ours[0] | ours[1] and one.target in ours[0] | ours[1]]
    crossing = {one.protocol for one in across if not any({one.source, one.target} <= side for side in ours)}
    assert crossing == {"tcp"}
    endpoints = hosts.out(A, "wg", "show", "wg0", "endpoints")
    assert len(re.findall(r"\t172\.27\.128\.1:", endpoints)) == 1
    assert len(re.findall(r"\t172\.27\.0\.4:51820", endpoints)) == 1


@contextmanager
def udp_blocked(hosts: Hosts) -> Iterator[None]:
    """Let no UDP pass between one side, a node and its relay, and the other."""
    sides = {A: "172.27.0.3, 172.27.128.2", B: "172.27.0.2, 172.27.128.1"}
    for node, others in sides.items():
        for direction, field in (("output", "daddr"), ("input", "saddr")):
            chain = f"add chain inet blocked {direction} {{ type filter hook {direction} priority -400; }}"
            rule = f"add rule inet blocked {direction} ip {field} {{ {others} }} meta l4proto udp drop"
            hosts.out(node, "nft", f"add table inet blocked; {chain}; {rule}")
    try:
        yield
    finally:
        for node in sides:
            hosts.out(node, "nft", "delete table inet blocked")


def test_where_udp_is_blocked_pages_and_pings_pass_all_the_same(over_tcp: Stack, hosts: Hosts) -> None:
    with udp_blocked(hosts):
        assert hosts.pings(B, "10.77.0.1")
        assert hosts.pings(A, "10.77.0.2")
        assert hosts.page(CLIENT, SERVER), over_tcp.name


def test_the_link_has_its_own_mtu(over_tcp: Stack, hosts: Hosts) -> None:
    assert "mtu 1376" in hosts.out(A, "ip", "route", "get", "10.77.0.2")
    assert "mtu" not in hosts.out(A, "ip", "route", "get", "10.77.0.3").splitlines()[0]
    assert hosts.run(B, "ping", "-c1", "-W2", "-M", "do", "-s", "1348", "10.77.0.1")[0] == 0
    assert hosts.run(B, "ping", "-c1", "-W2", "-M", "do", "-s", "1349", "10.77.0.1")[0] != 0, over_tcp.name


def test_relays_say_what_they_do_and_have_no_privilege(over_tcp: Stack, hosts: Hosts) -> None:
    assert hosts.pings(B, "10.77.0.1")
    for relay in (RELAY_A, RELAY_B):
        assert hosts.run(relay, "health")[0] == 0
        status = hosts.out(relay, "cat", "/proc/1/status")
        assert {line.split()[1] for line in status.splitlines() if line.startswith(("CapEff", "CapBnd"))} == {"0" * 16}
    eventually(lambda: ": connected" in hosts.out(RELAY_A, "health") + hosts.out(RELAY_B, "health"), 5, over_tcp.name)


def lost(report: str) -> int:
    sent, received = re.findall(r"(\d+) packets transmitted, (\d+) received", report)[0]
    return int(sent) - int(received)


def test_a_relay_that_is_killed_under_load_comes_back_and_the_link_with_it(over_tcp: Stack, hosts: Hosts) -> None:
    for relay in (RELAY_A, RELAY_B):
        with pinged(hosts, 100) as reports:
            os.kill(hosts.get(relay).attrs["State"]["Pid"], signal.SIGKILL)
        assert lost(reports[0]) <= 30, reports
        assert hosts.pings(A, "10.77.0.2"), over_tcp.name


@contextmanager
def pinged(hosts: Hosts, count: int) -> Iterator[list[str]]:
    """Ping ten times a second, so often, from one node to the other; the report is there afterwards."""
    reports: list[str] = []
    load = threading.Thread(target=lambda: reports.append(hosts.run(B, *PINGS, str(count), "10.77.0.1")[1]))
    load.start()
    yield reports
    load.join()


def test_connections_that_are_cut_again_and_again_lose_no_link(over_tcp: Stack, hosts: Hosts) -> None:
    with pinged(hosts, 200) as reports:
        for _ in range(4):
            cut(hosts)
            threading.Event().wait(4)
    assert lost(reports[0]) <= 20, reports
    assert hosts.pings(A, "10.77.0.2"), over_tcp.name


def cut(hosts: Hosts) -> None:
    """Destroy every TCP connection of a relay from outside, as a middlebox does (ss(8))."""
    process = hosts.get(RELAY_A).attrs["State"]["Pid"]
    hosts.client.containers.run(
        hosts.get(A).image,
        ["ss", "--tcp", "--kill", "dport", "=", "51820", "or", "sport", "=", "51820"],
        pid_mode=f"container:{RELAY_A}",
        network_mode=f"container:{RELAY_A}",
        cap_add=["NET_ADMIN"],
        remove=True,
    )
    assert process == hosts.get(RELAY_A).attrs["State"]["Pid"], "the relay lives on"


AUTO = {"links": [{"between": ["a", "b"], "transport": "auto"}]}


def test_a_link_that_chooses_goes_over_to_tcp_when_udp_is_blocked_and_back(over_tcp: Stack, hosts: Hosts) -> None:
    over_tcp.up(**AUTO)
    before = hosts.ids(A, B, RELAY_A, RELAY_B, CLIENT, SERVER)
    eventually(lambda: transports(hosts) == {"b udp", "a udp"}, 10)
    assert hosts.pings(B, "10.77.0.1")
    with pinged(hosts, 200):
        with udp_blocked(hosts):
            took = eventually(lambda: hosts.pings(B, "10.77.0.1"), 15, "over TCP")
            eventually(lambda: transports(hosts) == {"b tcp", "a tcp"}, 15)
            assert hosts.page(CLIENT, SERVER)
            assert between(frames_of_a_page(over_tcp, hosts), "172.27.128.1", "172.27.128.2") == {"tcp"}
        back = eventually(lambda: transports(hosts) == {"b udp", "a udp"}, 60, "back to UDP")
    print(f"over to TCP within {took:.1f} s, back to UDP within {back:.1f} s")
    assert between(frames_of_a_page(over_tcp, hosts), "172.27.0.2", "172.27.0.3") == {"udp"}
    assert hosts.ids(A, B, RELAY_A, RELAY_B, CLIENT, SERVER) == before
    said = b"".join(hosts.get(node).logs() for node in (A, B)).decode()  # who moves first takes the other along
    assert "goes over TCP: nothing comes over UDP" in said
    assert "goes over UDP: it gets through" in said


def transports(hosts: Hosts) -> set[str]:
    """What both nodes say of the link."""
    return {hosts.run(node, "cat", "/run/wireguard/transport")[1].strip() for node in (A, B)}


def test_gateways_that_take_tls_off_carry_a_link(over_tcp: Stack, hosts: Hosts, tmp_path: Path) -> None:
    host, fronts = "172.27.0.1", {}
    for name, relay in (("a", "172.27.128.1"), ("b", "172.27.128.2")):
        fronts[name] = Gateway(certificate=certified(tmp_path, f"{name}.gateway.example"), to=(relay, 51820))
    with serving(fronts["a"], host) as port_a, serving(fronts["b"], host) as port_b:
        nodes: list[dict[str, Any]] = [{"name": "c"}]
        for name, port in (("b", port_b), ("a", port_a)):
            tls = {"name": f"{name}.gateway.example", "authorities": fronts[name].certificate.text}
            nodes.insert(0, {"name": name, "ingress": {"endpoint": f"{host}:{port}", "tls": tls}})
        over_tcp.up(nodes=nodes)
        eventually(lambda: bool(hosts.page(CLIENT, SERVER)), 20)
        before = sum(front.passed for front in fronts.values())
        assert "0% packet loss" in hosts.out(A, "ping", "-q", "-i", "0.1", "-s", "1000", "-c", "20", "10.77.0.2")
        assert sum(front.passed for front in fronts.values()) - before > 2 * 20 * 1000, "there and back"
    assert {name: set(front.asked) for name, front in fronts.items()} == {
        "a": {"a.gateway.example"},
        "b": {"b.gateway.example"},
    }


def test_a_link_changes_its_transport_and_no_container_of_a_node_is_replaced(over_tcp: Stack, hosts: Hosts) -> None:
    before = hosts.ids(A, B, CLIENT, SERVER)
    over_tcp.up(links=[])
    eventually(lambda: between(frames_of_a_page(over_tcp, hosts), "172.27.0.2", "172.27.0.3") == {"udp"}, 10)
    assert "mtu" not in hosts.out(A, "ip", "route", "get", "10.77.0.2").splitlines()[0]
    assert [one.name for one in hosts.client.containers.list(all=True) if one.name in (RELAY_A, RELAY_B)] == []
    over_tcp.up(**CONFIG)
    eventually(lambda: hosts.page(CLIENT, SERVER) is not None, 10)
    assert between(frames_of_a_page(over_tcp, hosts), "172.27.128.1", "172.27.128.2") == {"tcp"}
    assert hosts.ids(A, B, CLIENT, SERVER) == before


LINKS = 100
MOST_MIB = 64
SEND = f"""
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(50):
    for link in range({LINKS}):
        udp.sendto(bytes(1400), ("127.0.0.1", 2000 + link))
"""


def test_a_relay_with_100_links_under_load_stays_small(over_tcp: Stack, hosts: Hosts) -> None:
    """All of them lead to itself, so it is both ends of each."""
    here = {"sources": ["127.0.0.0/8"], "idle": 0}
    way_in = {"listen": "127.0.0.1:1999", "forward": "127.0.0.1:9", "connections": LINKS, "connectionsOfOne": LINKS}
    way_out = {"forward": "localhost:1999", "peer": None, "tls": None, "mutual": False} | here
    ways_out = [way_out | {"listen": f"127.0.0.1:{2000 + link}"} for link in range(LINKS)]
    links = {"outgoing": ways_out, "incoming": [way_in | here], "echo": [], "meetings": [], "places": []}
    settings = json.dumps(links)
    image = hosts.get(RELAY_A).image
    relay = hosts.client.containers.create(image, tmpfs={"/run": ""}, network_mode="none", name=f"{over_tcp.name}-many")
    try:
        relay.put_archive("/etc", folder("udp-over-tcp", settings))
        relay.start()
        eventually(lambda: hosts.run(relay.name, "health")[0] == 0, 10)
        hosts.out(relay.name, "python3", "-c", SEND)
        eventually(lambda: f"{LINKS} connections" in hosts.out(relay.name, "health"), 20, "all are connected")
        hosts.out(relay.name, "python3", "-c", SEND)
        rss = int(re.findall(r"VmHWM:\s+(\d+) kB", hosts.out(relay.name, "cat", "/proc/1/status"))[0]) / 1024
        print(f"{LINKS} links: {rss:.1f} MiB at most")
        assert rss < MOST_MIB
    finally:
        relay.remove(force=True)
