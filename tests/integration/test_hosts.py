"""A mesh on four Docker engines, two of which nobody reaches, far apart over a network that loses packets."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError

from contracts.chain import ADDRESS
from tests.contracts.chain import running_chain
from tests.integration.cli import Cli
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import CHECKOUT, Stack
from tests.integration.wan import OUTSIDE, PLACES, Wan, wan
from vpn.model.keys import KEY_BYTES, PrivateKey, clamp

pytestmark = pytest.mark.timeout(900)

NODES = {"fra-1": "10.74.0.1", "fra-2": "10.74.0.2", "nyc-1": "10.74.0.3", "home-1": "10.74.0.4", "cafe-1": "10.74.0.5"}
DELAY, LOSS = 0.04, 0.01  # seconds one way: 80 ms there and back
TRIES = 3  # of a ping; one may be lost there and one back


def place_of(node: str) -> str:
    return node.partition("-")[0]


class Mesh:
    """The stack and its engines."""

    def __init__(self, network: Wan, stack: Stack, engines: dict[str, Hosts]) -> None:
        self.network = network
        self.stack = stack
        self.engines = engines

    def at(self, node: str) -> Hosts:
        return self.engines[place_of(node)]

    def pings(self, node: str, other: str) -> bool:
        command = ("ping", "-q", "-c", str(TRIES), "-i", "0.3", "-W", "2", NODES[other])
        return self.at(node).run(f"itw-{node}", *command)[0] == 0

    def silent(self, nodes: dict[str, str]) -> list[tuple[str, str]]:
        """Ordered pairs without an answer."""
        pairs = list(permutations(nodes, 2))
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda pair: self.pings(*pair), pairs))
        return [pair for pair, answered in zip(pairs, answers, strict=True) if not answered]

    def containers(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Every container of every engine but the config carriers: equal before and after means untouched."""
        found = {}
        for place, hosts in self.engines.items():
            names = [one.name for one in hosts.client.containers.list(all=True) if one.name != "itw-config"]
            found[place] = hosts.ids(*names)
        return found

    @contextmanager
    def longest_gap(self, node: str, other: str, most: float) -> Iterator[None]:
        """Five pings a second meanwhile: there is at least one answer in so many seconds."""
        hosts, at, file = self.at(node), f"itw-{node}", f"/run/pings-{other}"
        hosts.out(at, "sh", "-c", f"ping -D -i 0.2 {NODES[other]} >{file} 2>&1 & echo $! >{file}.pid")
        begun = time.time()
        yield
        end = time.time()
        lines = hosts.out(at, "sh", "-c", f"kill $(cat {file}.pid); cat {file}")
        times = [float(moment) for moment in re.findall(r"\[([0-9.]+)\] .*bytes from", lines)]
        gaps = [later - earlier for earlier, later in zip([begun, *times], [*times, end], strict=True)]
        assert max(gaps) < most, f"no answer for {max(gaps):.1f} s"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with ExitStack() as undo:
        network = undo.enter_context(wan())
        config: dict[str, Any] = {
            "name": "itw",
            "vpnRange": "10.74.0.0/24",
            "underlayRange": "172.31.0.0/16",
            "siteRange": "10.75.0.0/16",
            "hostPort": 57820,
            "proxyPort": 57440,
            "hosts": [network.host(place) for place in PLACES],
            "nodes": [{"name": node, "host": place_of(node), "address": address} for node, address in NODES.items()],
            "workloads": [
                {"name": "itw-server", "node": "home-1", "build": "docker/nginx"},
                {"name": "itw-client", "node": "cafe-1", "build": "docker/test-client"},
            ],
        }
        stack = Stack(tmp_path_factory.mktemp("itw"), config, name="itw", env=network.env)
        engines = {place: Hosts(undo.enter_context(network.engines[place].connected())) for place in PLACES}
        stack.up()
        yield Mesh(network, stack, engines)
        stack.destroy()
        for hosts in engines.values():
            assert hosts.client.containers.list(all=True) == []
            assert {one.name for one in hosts.client.networks.list()} == {"bridge", "host", "none"}
            assert hosts.client.volumes.list() == []


@pytest.fixture(autouse=True)
def far_apart(mesh: Mesh) -> Iterator[None]:
    with mesh.network.distance(DELAY, LOSS):
        eventually(lambda: not mesh.silent(NODES), 60, "all is well before")
        yield


def test_all_reach_each_other_and_a_page_crosses_between_two_that_nobody_reaches(mesh: Mesh) -> None:
    assert mesh.silent(NODES) == []
    eventually(lambda: mesh.engines["cafe"].page("itw-client", "itw-server") is not None, 20)


def test_the_outputs_tell_which_way_links_go_and_why(mesh: Mesh) -> None:
    links = mesh.stack.outputs()["links"]
    assert links["tunnels"] == 10
    assert links["transports"] == {"relays": 1, "tcp": 2, "udp": 7}
    assert links["between"]["cafe - home"] == "over TCP by the relays of fra-1, nyc-1: nothing gets in at either"


def test_check_looks_from_every_node_on_every_engine(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps(mesh.stack.outputs()))
    command = [sys.executable, "-m", "vpn.cli", "check", "--mesh", str(file), "--json"]

    def looked() -> list[dict[str, Any]]:
        env = {**os.environ, **mesh.network.env}
        done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=120, check=False)
        return list(json.loads(done.stdout)) if done.returncode == 0 else []

    eventually(lambda: len(looked()) == 20, 60, "all is as declared, though a ping may be lost")


def test_status_and_doctor_look_at_every_engine(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps(mesh.stack.outputs()))
    vpn = Cli(file, mesh.network.env)
    eventually(lambda: vpn.run("status").returncode == 0, 60, "all is well")
    nodes = {one["name"]: one for one in vpn.data("status")[1]["nodes"]}
    assert {one["host"] for one in nodes.values()} == set(PLACES)
    ways = {peer["name"]: peer["transport"] for peer in nodes["home-1"]["peers"]}
    assert ways == {"fra-1": "udp", "fra-2": "udp", "nyc-1": "tcp", "cafe-1": "tcp"}
    assert vpn.findings() == {}
    names = {json.loads(line)["name"] for line in vpn.run("logs", "config", "home-1", "--json").stdout.splitlines()}
    assert names == {"home-1", *(f"config@{place}" for place in PLACES)}


def test_a_relay_that_is_killed_is_replaced_at_once(mesh: Mesh) -> None:
    relay = mesh.at("fra-1").get("itw-mullvad-proxy-fra-1")
    with mesh.longest_gap("home-1", "cafe-1", 5):
        relay.kill()
        eventually(lambda: state_of_meeting(mesh) == "fra-1: not there, nyc-1: there", 10)
        relay.start()
        eventually(lambda: state_of_meeting(mesh) == "fra-1: there, nyc-1: there", 30)


def test_a_relay_that_falls_silent_is_replaced_within_10_seconds(mesh: Mesh) -> None:
    relay = mesh.at("fra-1").get("itw-mullvad-proxy-fra-1")
    with mesh.longest_gap("home-1", "cafe-1", 10):
        relay.pause()
        try:
            eventually(lambda: state_of_meeting(mesh) == "fra-1: not there, nyc-1: there", 20)
        finally:
            relay.unpause()
        eventually(lambda: state_of_meeting(mesh) == "fra-1: there, nyc-1: there", 30)


def state_of_meeting(mesh: Mesh) -> str:
    said = mesh.at("home-1").run("itw-mullvad-proxy-home-1", "health")[1]
    return next(line.partition("meeting: ")[2] for line in said.splitlines() if "meeting" in line)


def test_after_a_partition_all_is_well_without_an_up(mesh: Mesh) -> None:
    before = mesh.containers()
    with mesh.network.cut_off("home"):
        eventually(lambda: not mesh.pings("home-1", "fra-1"), 20)
        eventually(lambda: state_of_meeting(mesh) == "fra-1: not there, nyc-1: not there", 30, "connections are dead")
        rest = {node: address for node, address in NODES.items() if node != "home-1"}
        assert mesh.silent(rest) == []
    eventually(lambda: not mesh.silent(NODES), 60, "the partition heals")
    assert mesh.containers() == before


def test_new_keys_on_all_hosts(mesh: Mesh) -> None:
    before, peers = mesh.containers(), mesh.at("nyc-1").peers("itw-nyc-1")
    with mesh.longest_gap("home-1", "fra-1", 3), mesh.longest_gap("cafe-1", "nyc-1", 3):
        mesh.stack.up(keyGeneration=2)
    assert mesh.silent(NODES) == []
    assert not mesh.at("nyc-1").peers("itw-nyc-1") & peers
    assert mesh.containers() == before


@pytest.mark.parametrize(
    ("change", "tunnels"),
    [
        ({"topology": "hub", "hub": "fra-1"}, {"fra-1": 4, "fra-2": 1, "nyc-1": 1, "home-1": 1, "cafe-1": 1}),
        (
            {"topology": "regions", "gateways": ["fra-1", "nyc-1", "home-1"]},
            {"fra-1": 3, "fra-2": 1, "nyc-1": 2, "home-1": 3, "cafe-1": 1},
        ),
    ],
)
def test_another_topology_has_fewer_tunnels_and_all_reach_each_other(
    mesh: Mesh, change: dict[str, Any], tunnels: dict[str, int]
) -> None:
    before = mesh.containers()
    mesh.stack.up(**change)
    try:
        assert {node: len(mesh.at(node).peers(f"itw-{node}")) for node in NODES} == tunnels
        eventually(lambda: not mesh.silent(NODES), 30)
        eventually(lambda: mesh.engines["cafe"].page("itw-client", "itw-server") is not None, 20)
        assert differing(before, mesh.containers()) <= {"itw-mullvad-proxy-home-1", "itw-mullvad-proxy-cafe-1"}
    finally:
        mesh.stack.up(topology="full", hub="", gateways=[])


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {
        name
        for place in before
        for name in before[place].keys() | after[place].keys()
        if before[place].get(name) != after[place].get(name)
    }


def test_a_new_node_touches_nothing_elsewhere(mesh: Mesh) -> None:
    before, nodes = mesh.containers(), mesh.stack.config["nodes"]
    with mesh.longest_gap("home-1", "cafe-1", 3), mesh.longest_gap("fra-2", "nyc-1", 3):
        mesh.stack.up(nodes=[*nodes, {"name": "nyc-2", "host": "nyc", "address": "10.74.0.6"}])
    try:
        assert differing(before, mesh.containers()) == {"itw-nyc-2", "itw-mullvad-proxy-nyc-2"}
        eventually(lambda: mesh.at("nyc-1").run("itw-nyc-2", "ping", "-c1", "-W2", NODES["home-1"])[0] == 0, 20)
    finally:
        mesh.stack.up(nodes=nodes)
    assert mesh.containers() == before


def test_where_udp_stops_getting_through_links_between_hosts_go_over_tcp_and_back(mesh: Mesh) -> None:
    cafe = mesh.at("cafe-1")

    def goes_over(transport: str) -> bool:
        return f"fra-1 {transport}" in cafe.run("itw-cafe-1", "cat", "/run/wireguard/transport")[1].splitlines()

    mesh.stack.up(transport="auto")
    try:
        eventually(lambda: goes_over("udp"), 30)
        with mesh.network.cut_off("cafe", "udp"):
            eventually(lambda: goes_over("tcp") and mesh.pings("cafe-1", "fra-1"), 60, "over TCP")
            eventually(lambda: mesh.pings("fra-1", "cafe-1"), 20, "the other end came along")
        eventually(lambda: goes_over("udp") and mesh.pings("cafe-1", "fra-1"), 90, "back over UDP")
    finally:
        mesh.stack.up(transport="udp")


def test_a_gate_on_every_host_lets_in_and_puts_out(mesh: Mesh, chain_image: str) -> None:
    with running_chain(chain_image, 20, address=OUTSIDE) as chain:
        services = [
            {"name": "itw-page", "at": "itw-server", "ports": 80},
            {"name": "itw-other", "at": "fra-2", "ports": 22},
        ]
        access = {
            "enabled": True,
            "rpcUrl": chain.url,
            "contractAddress": ADDRESS,
            "memberRange": "10.76.0.0/24",
            "gateRange": "10.77.0.0/28",
            "maxHeadAgeSeconds": 0,
        }
        mesh.stack.up(services=services, access=access)
        try:
            key, person = PrivateKey(clamp(os.urandom(KEY_BYTES))).public(), chain.people[0]
            chain.do(chain.admin, "mint", person, 1)
            chain.do(person, "bind_key", 1, key.raw)
            eventually(lambda: nodes_with(mesh, key.base64()) == {"home-1", "fra-2"}, 20, "in, where something is")
            chain.do(person, "transferFrom", person, chain.people[1], 1)
            eventually(lambda: not nodes_with(mesh, key.base64()), 20, "out")
        finally:
            mesh.stack.up(services=[], access={})


def nodes_with(mesh: Mesh, key: str) -> set[str]:
    return {node for node in NODES if key in mesh.at(node).peers(f"itw-{node}")}


def test_with_an_engine_that_does_not_answer_an_up_says_which_and_touches_nothing(mesh: Mesh) -> None:
    engine = mesh.network.engines["cafe"]
    others = [place for place in PLACES if place != "cafe"]
    before = mesh.containers()
    engine.stop()
    try:
        with pytest.raises(CommandError) as caught:
            mesh.stack.up(mtu=1380)
        assert str(engine.url) in str(caught.value)
        after = {place: mesh.engines[place].ids(*before[place]) for place in others}
        assert after == {place: before[place] for place in others}
        assert {
            mesh.at(node).out(f"itw-{node}", "cat", "/sys/class/net/wg0/mtu").strip() for node in ("fra-1", "nyc-1")
        } == {"1420"}
    finally:
        engine.start()
        mesh.stack.up(mtu=1420)
    eventually(lambda: not mesh.silent(NODES), 60, "the engine is back")
