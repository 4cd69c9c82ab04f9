"""Faults are normal: nothing is lost, and the mesh or the next `up` repairs it."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.errors import NotFound

from tests.integration.conftest import NODES
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import Stack
from vpn.model.report import parse

WORKLOADS = ("it-server", "it-client")
ANSWER_SECONDS = 6  # of a carrier, whoever is away


def page_again(hosts: Hosts, seconds: float = 10) -> float:
    """Wait until the page crosses the tunnel again."""
    return eventually(lambda: hosts.page("it-client", "it-server") is not None, seconds, "the page is back")


def test_a_restarted_node_is_back_in_10_s_and_workloads_stay(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*WORKLOADS)
    for node in ("it-a", "it-b"):
        hosts.get(node).restart(timeout=5)
        page_again(hosts)
    assert hosts.ids(*WORKLOADS) == before
    assert hosts.pings("it-b", "10.70.0.1"), mesh.name


def test_a_killed_and_started_node_is_back_in_10_s(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*WORKLOADS)
    hosts.get("it-a").kill()  # to Docker a manual stop: it waits for somebody to start it
    assert hosts.page("it-client", "it-server") is None
    hosts.get("it-a").start()
    page_again(hosts)
    assert hosts.ids(*WORKLOADS) == before, mesh.name


def test_a_crashed_node_comes_back_by_itself_in_10_s(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*WORKLOADS)
    os.kill(hosts.get("it-a").attrs["State"]["Pid"], signal.SIGKILL)
    page_again(hosts)
    assert hosts.ids(*WORKLOADS) == before, mesh.name


@pytest.mark.parametrize("process", ["wireguard-go", "dnsmasq"])
def test_a_crashed_process_in_a_node_is_started_again(mesh: Stack, hosts: Hosts, process: str) -> None:
    if process == "wireguard-go" and hosts.out("it-b", "cat", "/run/wireguard/dataplane") == "kernel\n":
        pytest.skip("the kernel does it here; there is no such process")
    started = hosts.ids("it-b")
    top = hosts.get("it-b").top(ps_args="-eo pid,comm")["Processes"]
    os.kill(next(int(pid) for pid, name in top if name == process), signal.SIGKILL)
    page_again(hosts)
    eventually(lambda: hosts.run("it-b", "health")[0] == 0, 10, mesh.name)
    assert hosts.ids("it-b") == started


@pytest.mark.parametrize(
    "drift",
    [
        ("wg", "set", "wg0", "listen-port", "4711"),
        ("nft", "flush", "ruleset"),
        ("nft", "delete", "table", "inet", "dstack_vpn"),
        ("ip", "link", "set", "wg0", "mtu", "1280"),
        ("ip", "address", "flush", "dev", "wg0"),
        ("ip", "route", "delete", "10.71.0.0/16", "dev", "wg0"),
        ("ip", "route", "delete", "default"),
        ("ip", "link", "delete", "wg0"),
    ],
    ids=" ".join,
)
def test_what_is_changed_by_hand_in_a_node_is_put_right(mesh: Stack, hosts: Hosts, drift: tuple[str, ...]) -> None:
    wanted = state(hosts)
    hosts.out("it-b", *drift)
    eventually(lambda: state(hosts) == wanted, 10, f"drift is repaired after {' '.join(drift)}")
    page_again(hosts)
    assert mesh.name == "it"


def state(hosts: Hosts) -> list[str]:
    """What a node's network looks like; counters and handshakes left out."""
    commands = ("wg show wg0 listen-port", "wg show wg0 allowed-ips", "nft -s list table inet dstack_vpn")
    looks = (*commands, "ip -br -4 address show dev wg0", "ip route show", "cat /sys/class/net/wg0/mtu")
    return [hosts.run("it-b", *look.split())[1] for look in looks]


def test_a_node_that_nobody_looks_at_writes_nothing_and_one_look_tells_of_now(mesh: Stack, hosts: Hosts) -> None:
    def changed(path: str) -> str:
        return hosts.out("it-a", "stat", "--format=%y", path)

    written, passed = changed("/etc/wireguard"), changed("/run/wireguard/state")
    eventually(lambda: changed("/run/wireguard/state") != passed, 15, f"another pass in {mesh.name}")
    assert changed("/etc/wireguard") == written
    told = parse(hosts.out("it-config", "carrier", "report", "a", "b")).nodes
    assert max(told[node].age for node in ("a", "b")) < 1
    hosts.get("it-b").pause()
    try:
        told = parse(hosts.out("it-config", "carrier", "report", "a", "b")).nodes
    finally:
        hosts.get("it-b").unpause()
    assert told["a"].age < told["b"].age < ANSWER_SECONDS, "who does not answer is waited for, not long"


def test_a_report_that_cannot_be_written_ends_no_tunnel(mesh: Stack, hosts: Hosts) -> None:
    """As when the disk is full: nothing can be made in the config volume."""
    before = hosts.ids("it-a")
    hosts.out("it-a", "mkdir", "/etc/wireguard/.report.new")  # where the draft would be
    try:
        for _ in range(2):
            hosts.out("it-a", "touch", "/etc/wireguard/asked")
            eventually(lambda: hosts.run("it-a", "test", "-e", "/etc/wireguard/asked")[0] == 1, 10, "another pass")
        eventually(lambda: hosts.run("it-a", "health")[0] == 0, 10, mesh.name)
        assert hosts.page("it-client", "it-server") is not None
    finally:
        hosts.run("it-a", "rmdir", "/etc/wireguard/.report.new")
    assert hosts.ids("it-a") == before


def test_a_corrupt_config_is_refused_and_delivered_anew(mesh: Stack, hosts: Hosts) -> None:
    carrier = hosts.get("it-config")
    carrier.stop(timeout=1)
    hosts.out("it-b", "sh", "-c", "echo garbage >>/etc/wireguard/wg0.conf")
    eventually(lambda: "do not match their SHA256SUMS" in hosts.run("it-b", "health")[1], 15, "the node says so")
    assert hosts.page("it-client", "it-server"), "the last good config goes on"
    mesh.up()
    assert hosts.run("it-b", "health")[0] == 0
    assert hosts.page("it-client", "it-server")


def test_the_carrier_repairs_a_corrupt_config(mesh: Stack, hosts: Hosts) -> None:
    hosts.out("it-b", "sh", "-c", "echo garbage >>/etc/wireguard/wg0.conf; rm /etc/wireguard/hosts")
    assert hosts.run("it-config", "carrier", "health") == (1, "not delivered to: b\n")
    eventually(lambda: hosts.run("it-b", "sh", "-c", "cd /etc/wireguard && sha256sum -c SHA256SUMS")[0] == 0, 10)
    eventually(lambda: hosts.run("it-config", "carrier", "health")[0] == 0, 10, "the node applied it")
    assert hosts.page("it-client", "it-server"), mesh.name


@pytest.mark.parametrize("harm", ["stop", "remove"])
def test_what_was_stopped_or_removed_by_hand_is_back_after_up(mesh: Stack, hosts: Hosts, harm: str) -> None:
    for name in ("it-b", "it-server"):
        container = hosts.get(name)
        container.stop(timeout=5) if harm == "stop" else container.remove(force=True)
    mesh.up()
    page_again(hosts)


def exists(find: Callable[[], object]) -> bool:
    """Whether Docker knows a thing."""
    try:
        return bool(find())
    except NotFound:
        return False


@pytest.mark.parametrize("made", ["network", "container"])
def test_a_killed_up_is_finished_by_the_next(mesh: Stack, hosts: Hosts, made: str) -> None:
    mesh.configure(nodes=[*NODES, {"name": "c"}])
    process = mesh.start("up", "--yes", "--skip-preview", "--refresh=false")
    client = hosts.client
    find = {
        "network": lambda: client.networks.list(names=["it-site-c"]),
        "container": lambda: client.containers.get("it-c"),
    }[made]
    while not exists(find):
        assert process.poll() is None, "it ended before it could be killed"
    mesh.kill(process)
    mesh.api.cancel()
    mesh.up()
    assert hosts.pings("it-c", "10.70.0.1")
    assert hosts.page("it-client", "it-server")


def test_a_host_port_in_use_is_named_and_the_next_up_repairs(mesh: Stack, hosts: Hosts) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 55822))
        mesh.configure(nodes=[*NODES, {"name": "c"}])
        refused = mesh.run("up", "--yes", "--skip-preview")
        assert refused.returncode != 0
        assert "55822" in refused.stdout
        assert "address already in use" in refused.stdout
        assert hosts.page("it-client", "it-server"), "the others run on"
    mesh.up()
    assert hosts.pings("it-c", "10.70.0.1")


def test_a_stack_of_the_same_name_elsewhere_cannot_take_ours_for_its_leftovers(
    mesh: Stack, hosts: Hosts, tmp_path: Path
) -> None:
    before = hosts.ids("it-a", "it-b", *WORKLOADS)
    stranger = Stack(tmp_path / "stranger", dict(mesh.config), name=mesh.name)
    stranger.configure()
    refused = stranger.run("up", "--yes", "--skip-preview")
    assert refused.returncode != 0
    assert "already exists" in refused.stdout
    assert hosts.ids("it-a", "it-b", *WORKLOADS) == before


def test_a_wrong_passphrase_is_refused_and_touches_nothing(mesh: Stack, hosts: Hosts) -> None:
    before = hosts.ids("it-a", "it-b")
    refused = mesh.run("up", "--yes", "--skip-preview", PULUMI_CONFIG_PASSPHRASE="wrong")
    assert refused.returncode != 0
    assert "incorrect passphrase" in refused.stdout + refused.stderr
    assert hosts.ids("it-a", "it-b") == before


def test_a_node_that_cannot_apply_makes_up_fail(mesh: Stack, hosts: Hosts) -> None:
    with hosts.paused_agent("it-b"):
        mesh.configure(mtu=1400)
        refused = mesh.run("up", "--yes", "--skip-preview", "--refresh=false")
    assert refused.returncode != 0
    assert "the config was not applied by every node within 68 s; local: waiting for: b\n" in refused.stdout
    mesh.up()
    eventually(lambda: hosts.pings("it-a", "10.70.0.2"), 10)


def test_keys_survive_everything(mesh: Stack, hosts: Hosts) -> None:
    keys = {name: node["publicKey"] for name, node in mesh.outputs()["nodes"].items()}
    for node in ("it-a", "it-b"):
        hosts.get(node).remove(force=True)
    mesh.up()
    assert {name: node["publicKey"] for name, node in mesh.outputs()["nodes"].items()} == keys
    assert hosts.peers("it-a") == {keys["b"]}


def test_a_clock_set_back_does_not_stop_the_agent(mesh: Stack, hosts: Hosts) -> None:
    """A state file from the future is no reason to call a node sick, nor is one of the past to call it well."""
    with hosts.paused_agent("it-a"):
        hosts.out("it-a", "touch", "-d", "5 minutes ago", "/run/wireguard/state")
        assert hosts.run("it-a", "health") == (1, "no pass for 1 min\n")
        hosts.out("it-a", "touch", "-d", "1 hour", "/run/wireguard/state")
        assert hosts.run("it-a", "health")[0] == 0
    eventually(lambda: hosts.run("it-a", "health")[0] == 0, 10, mesh.name)
