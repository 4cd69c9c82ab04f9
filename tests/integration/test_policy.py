"""Rules between five nodes: what they deny is denied, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import CHECKOUT, Stack
from vpn.cli import probe

NAME = "itp"
SERVER, CLIENT = f"{NAME}-server", f"{NAME}-client"
RULES: list[dict[str, Any]] = [
    {"from": "a", "to": "b", "ports": 80},
    {"from": "a", "to": "c", "ports": "tcp/440-443"},
    {"from": "b", "to": "a", "ports": [80, 5432]},
    {"from": "b", "to": "c"},
    {"from": "c", "to": "d", "ports": [80, 81]},
    {"from": "b", "to": "d", "ports": "udp/53"},
    {"from": "e", "to": "page"},
    {"from": "left", "to": "d", "ports": 8080},
    {"from": "c", "to": "e", "ports": 443},
    {"from": "e", "to": "c", "ports": 443},
    {"from": "d", "to": "a", "ports": "tcp/80-81"},
    {"from": ["a"], "to": ["e"], "ports": [5432]},
]
PORTS = (80, 81, 443, 5432, 8080)
DECLARED = {
    "ab": {80},
    "ac": {443},
    "ad": {8080},
    "ae": {5432},
    "ba": {80, 5432},
    "bc": set(PORTS),
    "bd": {8080},
    "cd": {80, 81},
    "ce": {443},
    "da": {80, 81},
    "ec": {443},
}
"""TCP ports by pair; every other pair has none."""
STRANGERS = {"be", "de"}
TESTS: list[dict[str, Any]] = [
    {"from": "a", "to": "b", "port": 80, "expect": "allow"},
    {"from": "a", "to": "b", "port": 81, "expect": "deny"},
    {"from": "e", "to": "page", "expect": "allow"},
    {"from": CLIENT, "to": SERVER, "port": 80, "expect": "allow"},
    {"from": CLIENT, "to": SERVER, "port": 81, "expect": "deny"},
    {"from": CLIENT, "to": "d", "port": "udp/53", "expect": "allow"},
]
CONFIG: dict[str, Any] = {
    "name": NAME,
    "vpnRange": "10.79.0.0/24",
    "underlayRange": "172.26.0.0/16",
    "siteRange": "10.80.0.0/16",
    "hostPort": 0,
    "nodes": [{"name": name} for name in "abcde"],
    "workloads": [
        {"name": SERVER, "node": "a", "build": "docker/nginx"},
        {"name": CLIENT, "node": "b", "build": "docker/test-client"},
    ],
    "services": [{"name": "page", "at": SERVER, "ports": 80}],
    "groups": {"left": ["a", "b"]},
    "rules": RULES,
    "tests": TESTS,
    "keyGeneration": 1,
    "presharedKeyGeneration": 0,
}
ADDRESS = {name: f"10.79.0.{number}" for number, name in enumerate("abcde", 1)}
CONTAINERS = [*(f"{NAME}-{node}" for node in "abcde"), SERVER, CLIENT]
DENIED_IN = 2  # seconds
REPAIRED_IN = 10  # seconds
TALKING_IN = 4  # seconds; what WireGuard does not try again before 5 s would be too late
PROBE = """
for target in "$@"; do
    (said=$(timeout 2 bash -c 'exec 3<>/dev/tcp/$0/$1' "${target%:*}" "${target#*:}" 2>&1); status=$?
     [ $status = 0 ] || case $said in *refused*) ;; *) exit ;; esac; echo "$target") &
done
wait
"""


@pytest.fixture(scope="module")
def brought_up_with_rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp(NAME), dict(CONFIG), name=NAME)
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


@pytest.fixture
def ruled(brought_up_with_rules: Stack, hosts: Hosts) -> Stack:
    if brought_up_with_rules.deployed != CONFIG:
        brought_up_with_rules.up(**CONFIG)
    await_tunnels(hosts)
    return brought_up_with_rules


def await_tunnels(hosts: Hosts) -> float:
    """Wait until all who may talk have talked, and return how long that took, in seconds."""
    tunnels = [(one, other) for one in ADDRESS for other in ADDRESS if one < other and one + other not in STRANGERS]
    return sum(eventually(partial(hosts.pings, f"{NAME}-{one}", ADDRESS[other]), 30) for one, other in tunnels)


def reached(hosts: Hosts, node: str, *targets: str) -> set[str]:
    """Which of several host:port a node reaches; a refusal comes from there, too."""
    return set(hosts.out(f"{NAME}-{node}", "bash", "-c", PROBE, "bash", *targets).split())


def matrix(hosts: Hosts) -> dict[str, set[int]]:
    """What every node reaches at every other."""

    def from_one(node: str) -> dict[str, set[int]]:
        others = {other: address for other, address in ADDRESS.items() if other != node}
        found = reached(hosts, node, *(f"{address}:{port}" for address in others.values() for port in PORTS))
        return {node + other: {port for port in PORTS if f"{there}:{port}" in found} for other, there in others.items()}

    with ThreadPoolExecutor() as pool:
        return {pair: ports for part in pool.map(from_one, ADDRESS) for pair, ports in part.items()}


def declared(expected: Mapping[str, set[int]]) -> dict[str, set[int]]:
    return {one + other: expected.get(one + other, set()) for one in ADDRESS for other in ADDRESS if one != other}


def test_every_pair_reaches_what_is_declared_and_nothing_else(ruled: Stack, hosts: Hosts) -> None:
    assert len(ruled.config["rules"]) == 12
    assert matrix(hosts) == declared(DECLARED)


def test_who_may_not_talk_at_all_has_no_tunnel_and_all_others_can_ping(ruled: Stack, hosts: Hosts) -> None:
    keys = {name: node["publicKey"] for name, node in ruled.outputs()["nodes"].items()}
    for pair in declared({}):
        one, other = pair[0], pair[1]
        strangers = "".join(sorted(pair)) in STRANGERS
        assert (keys[other] in hosts.peers(f"{NAME}-{one}")) != strangers
        assert hosts.pings(f"{NAME}-{one}", ADDRESS[other]) != strangers


def test_nodes_that_start_together_talk_at_once_and_then_rest(ruled: Stack, hosts: Hosts) -> None:
    nodes = [f"{NAME}-{node}" for node in ADDRESS]
    for _ in range(3):
        started = int(time.time())
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: hosts.get(node).kill(), nodes))
            list(pool.map(lambda node: hosts.get(node).start(), nodes))
        for node in nodes:
            eventually(partial(is_well, hosts, node), 15, node)
        assert await_tunnels(hosts) < TALKING_IN
    for node in nodes:
        eventually(lambda node=node: hosts.run(node, "test", "-e", "/run/wireguard/seen")[0] == 0, 15)  # type: ignore[misc]
        assert "put right" not in hosts.get(node).logs(since=started).decode()
    assert ruled.name == NAME


def is_well(hosts: Hosts, node: str) -> bool:
    return hosts.run(node, "health")[0] == 0


def test_rules_are_for_workloads_and_services_as_well(ruled: Stack, hosts: Hosts) -> None:
    server = ruled.outputs()["workloads"][SERVER]["address"]
    assert hosts.page(CLIENT, "page.vpn.dstack")
    assert reached(hosts, "e", f"{server}:80", f"{server}:81") == {f"{server}:80"}
    assert reached(hosts, "d", f"{server}:80", f"{server}:443") == {f"{server}:80"}
    assert reached(hosts, "c", f"{server}:80") == set()
    assert f"has address {ADDRESS['c']}" in hosts.out(CLIENT, "host", "c.vpn.dstack", ADDRESS["d"]), "udp/53"
    assert hosts.run(CLIENT, "host", "-W", "1", "c.vpn.dstack", ADDRESS["c"])[0] == 0, "everything"
    assert hosts.run(CLIENT, "host", "-W", "1", "c.vpn.dstack", ADDRESS["a"])[0] != 0


def test_what_is_denied_anew_ends_within_2_s_and_what_stays_loses_nothing(ruled: Stack, hosts: Hosts) -> None:
    server = ruled.outputs()["workloads"][SERVER]["address"]
    before = hosts.ids(*CONTAINERS)
    old = Pinging(hosts, CLIENT, server)
    stays = Pinging(hosts, f"{NAME}-a", ADDRESS["c"])
    eventually(lambda: hosts.pings(CLIENT, server), 5)
    fewer = [rule for rule in RULES if (rule["from"], rule["to"]) not in (("b", "a"), ("a", "b"))]
    ruled.up(rules=fewer, tests=[])
    returned = time.time()
    gone = {**DECLARED, "ab": set(), "ba": set()}
    assert matrix(hosts) == declared(gone)
    assert not hosts.pings(f"{NAME}-a", ADDRESS["b"]), "nor has it a tunnel"
    last, lost = old.end()[0], stays.end()[1]
    print(f"\nthe last ping of an open flow came {last - returned:+.1f} s after the up; {lost} of the others were lost")
    assert last - returned < DENIED_IN
    assert lost <= 1
    assert hosts.ids(*CONTAINERS) == before


class Pinging:
    """Ten pings a second, all of one flow, in the background."""

    def __init__(self, hosts: Hosts, source: str, target: str) -> None:
        self._hosts, self._source = hosts, source
        self._command = ("ping", "-D", "-i", "0.1", target)
        self._output = ""
        self._thread = threading.Thread(target=self._ping)
        self._thread.start()

    def _ping(self) -> None:
        self._output = self._hosts.run(self._source, *self._command)[1]

    def end(self) -> tuple[float, int]:
        """When the last answer came, in seconds since 1970, and how many were lost before that."""
        processes = self._hosts.get(self._source).top(ps_args="-eo pid,args")["Processes"]
        os.kill(next(int(pid) for pid, words in processes if words == " ".join(self._command)), signal.SIGINT)
        self._thread.join(10)
        answers = [line.split() for line in self._output.splitlines() if "bytes from" in line]
        numbers = [int(word.removeprefix("icmp_seq=")) for words in answers for word in words if "icmp_seq=" in word]
        return float(answers[-1][0].strip("[]")), numbers[-1] - len(numbers)


def test_a_filter_that_is_flushed_at_one_end_opens_nothing_and_comes_back(ruled: Stack, hosts: Hosts) -> None:
    for flushed in ("c", "a"):
        hosts.out(f"{NAME}-{flushed}", "nft", "flush", "ruleset")
        back = threading.Event()
        watch = threading.Thread(target=wait_for_the_filter, args=(hosts, flushed, back))
        watch.start()
        opened: set[str] = set()
        while not back.is_set():
            opened |= reached(hosts, "c", f"{ADDRESS['a']}:443")
        watch.join()
        assert opened == set(), f"{flushed} was flushed"
        assert hosts.run(f"{NAME}-{flushed}", "getent", "hosts", "b.vpn.dstack")[0] == 0
        eventually(lambda: outside_answers(hosts, flushed), REPAIRED_IN, "Docker's resolver is asked again")  # noqa: B023
    assert ruled.name == NAME


def outside_answers(hosts: Hosts, node: str) -> bool:
    """Whether Docker's own resolver tells where a container on one of the node's networks is."""
    return hosts.run(f"{NAME}-{node}", "getent", "hosts", f"{NAME}-b.{NAME}-network")[0] == 0


def wait_for_the_filter(hosts: Hosts, node: str, back: threading.Event) -> None:
    try:
        look = ("nft", "list", "chain", "inet", "dstack_vpn", "input")
        eventually(lambda: "goto rules" in hosts.run(f"{NAME}-{node}", *look)[1], REPAIRED_IN)
        said = "put right what was not as configured: Docker's rules, firewall"
        eventually(lambda: said in hosts.get(f"{NAME}-{node}").logs(tail=20).decode(), REPAIRED_IN)
    finally:
        back.set()


def check(stack: Stack, folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """`vpn check`: exit status, lines, and what it complains of."""
    file = folder / "mesh.json"
    file.write_text(json.dumps(stack.outputs()))
    command = [sys.executable, "-m", "vpn.cli", "check", "--mesh", str(file), "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_check_looks_for_itself(ruled: Stack, hosts: Hosts, tmp_path: Path) -> None:
    status, lines, _ = check(ruled, tmp_path)
    assert status == 0
    assert len(lines) == 5 * 4 + len(TESTS)
    pings = [line for line in lines if line["what"] == "ping"]
    assert {line["found"] for line in pings} == {"reached", "not reached"}
    assert [line["handshake"] is not None for line in pings] == [line["found"] == "reached" for line in pings]
    assert max(line["handshake"] or 0 for line in pings) < 180
    assert {line["handshake"] for line in lines if line["what"] != "ping"} == {None}
    assert hosts.client.containers.list(all=True, filters={"label": "dstack-vpn.probe"}) == []
    assert [line["found"] for line in lines if line["what"] == "udp/53"] == ["cannot be tried"]
    with hosts.paused_agent(f"{NAME}-b"):
        hosts.out(f"{NAME}-b", "nft", "insert rule inet dstack_vpn input tcp dport 80 drop")
        status, lines, complaint = check(ruled, tmp_path)
    assert status == 1
    assert [(line["source"], line["target"], line["what"]) for line in lines if not line["ok"]] == [
        ("a", "b", "tcp/80")
    ]
    assert f"1 of {len(lines)} differ" in complaint


def test_a_look_that_fails_is_no_sign_that_something_is_denied(ruled: Stack, hosts: Hosts) -> None:
    nowhere = probe.Place(engine=hosts.client.api, container=f"{NAME}-nobody")
    for tools in (f"{NAME}-a", f"{NAME}-nobody"):
        assert probe.connect(replace(nowhere, tools=tools), ADDRESS["a"], "80") == probe.Found.FAILED
    assert hosts.client.containers.list(all=True, filters={"label": "dstack-vpn.probe"}) == []
    assert probe.ping(nowhere, [ADDRESS["a"]]) == {ADDRESS["a"]: probe.Found.FAILED}
    assert probe.connect(nowhere, ADDRESS["a"], "80") == probe.Found.FAILED, ruled.name


def test_new_keys_cost_a_pair_at_most_one_ping(ruled: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*CONTAINERS)
    old = {node["publicKey"] for node in ruled.outputs()["nodes"].values()}
    pairs = [pair for pair in declared({}) if "".join(sorted(pair)) not in STRANGERS]
    pinging = {pair: Pinging(hosts, f"{NAME}-{pair[0]}", ADDRESS[pair[1]]) for pair in pairs}
    ruled.up(keyGeneration=2)
    lost = {pair: one.end()[1] for pair, one in pinging.items()}
    print(f"\nnew keys: {lost} pings of 10 a second lost")
    assert max(lost.values()) <= 1
    assert hosts.ids(*CONTAINERS) == before
    assert not old & {key for node in ADDRESS for key in hosts.peers(f"{NAME}-{node}")}


def test_one_node_gets_a_new_key_and_pairs_new_preshared_ones(ruled: Stack, hosts: Hosts) -> None:
    old = {name: node["publicKey"] for name, node in ruled.outputs()["nodes"].items()}
    nodes = [{"name": name, **({"keyGeneration": 1} if name == "c" else {})} for name in ADDRESS]
    watched = [Pinging(hosts, f"{NAME}-{pair[0]}", ADDRESS[pair[1]]) for pair in ("ac", "ca", "ce", "ab")]
    ruled.up(nodes=nodes, presharedKeyGeneration=1)
    assert [one.end()[1] <= 1 for one in watched] == [True] * 4
    new = {name: node["publicKey"] for name, node in ruled.outputs()["nodes"].items()}
    assert {name for name in ADDRESS if old[name] != new[name]} == {"c"}


def test_new_keys_cost_no_more_where_nothing_is_kept_alive(ruled: Stack, hosts: Hosts) -> None:
    ruled.up(keepalive=0)
    nodes = [{"name": name, **({"keyGeneration": 2} if name == "c" else {})} for name in ADDRESS]
    watched = [Pinging(hosts, f"{NAME}-{pair[0]}", ADDRESS[pair[1]]) for pair in ("ac", "ca", "ce", "ab")]
    ruled.up(nodes=nodes)
    assert [one.end()[1] <= 1 for one in watched] == [True] * 4


def key_of(hosts: Hosts, node: str) -> str:
    return hosts.out(f"{NAME}-{node}", "wg", "show", "wg0", "public-key").strip()


def test_who_was_away_when_keys_changed_comes_back_with_the_new_ones(ruled: Stack, hosts: Hosts) -> None:
    before = hosts.ids(*CONTAINERS)
    old = {node: key_of(hosts, node) for node in ADDRESS}
    ruled.configure(keyGeneration=2)
    hosts.get(f"{NAME}-d").pause()
    try:
        change = ruled.start("up", "--yes", "--skip-preview")
        eventually(lambda: all(key_of(hosts, node) != old[node] for node in "abce"), 60)
        others = Pinging(hosts, f"{NAME}-a", ADDRESS["c"])
        eventually(lambda: hosts.pings(f"{NAME}-e", ADDRESS["c"]), 10)
    finally:
        hosts.get(f"{NAME}-d").unpause()
    assert change.wait(120) == 0
    assert key_of(hosts, "d") != old["d"]
    for node in "abc":
        eventually(lambda node=node: hosts.pings(f"{NAME}-{node}", ADDRESS["d"]), 15)  # type: ignore[misc]
    assert others.end()[1] <= 1
    assert hosts.ids(*CONTAINERS) == before


def test_an_up_that_is_killed_while_keys_change_is_finished_by_the_next(ruled: Stack, hosts: Hosts) -> None:
    old = {node: key_of(hosts, node) for node in ADDRESS}
    ruled.configure(keyGeneration=2)
    change = ruled.start("up", "--yes", "--skip-preview")
    eventually(lambda: hosts.run(f"{NAME}-a", "test", "-e", "/run/wireguard/opening.conf")[0] == 0, 60)
    ruled.kill(change)
    ruled.api.cancel()
    ruled.up()
    assert not set(old.values()) & {key_of(hosts, node) for node in ADDRESS}
    for one, other in (("a", "b"), ("b", "c"), ("c", "d"), ("a", "e")):
        eventually(lambda one=one, other=other: hosts.pings(f"{NAME}-{one}", ADDRESS[other]), 15)  # type: ignore[misc]


def test_an_expectation_that_is_not_met_stops_the_preview(ruled: Stack) -> None:
    ruled.configure(tests=[{**TESTS[0], "expect": "deny"}])
    done = ruled.run("preview")
    assert done.returncode != 0
    assert "tests[0]: 'a to b, tcp/80' is allowed" in done.stdout + done.stderr
