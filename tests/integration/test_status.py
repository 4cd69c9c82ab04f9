"""What an operator sees of a mesh, when it is well and when it is not: every trouble here is real."""

import io
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import tarfile
import xml.etree.ElementTree as ET
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import docker.errors
import pytest

from tests.integration.cli import VPN, Cli
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import Stack
from vpn.cli.__main__ import main
from vpn.model.redaction import REMOVED, Redaction

HOST_PORT = 56920
CONFIG: dict[str, Any] = {
    "name": "itst",
    "vpnRange": "10.96.0.0/24",
    "underlayRange": "172.24.0.0/16",
    "siteRange": "10.97.0.0/16",
    "hostPort": HOST_PORT,
    "nodes": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    "links": [{"between": ["a", "c"], "transport": "tcp"}],
    "workloads": [{"name": "itst-client", "node": "b", "build": "docker/test-client"}],
    "services": [{"name": "page", "at": "a", "ports": 80}],
    "access": {
        "enabled": True,
        "memberRange": "10.98.1.0/24",
        "gateRange": "10.98.0.0/28",
        "chainPort": 58546,
    },
}
BOUND = 2  # seconds that status may take
SOON = 10  # seconds until a trouble shows
SETTLED = 60  # seconds until all is well again


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The mesh, once for all tests."""
    stack = Stack(tmp_path_factory.mktemp("itst"), dict(CONFIG), name="itst")
    try:
        stack.up()
        yield stack
    finally:
        stack.destroy()


@pytest.fixture(scope="module")
def outputs(stack: Stack) -> dict[str, Any]:
    return stack.outputs()


@pytest.fixture
def vpn(outputs: dict[str, Any], tmp_path: Path, hosts: Hosts) -> Iterator[Cli]:
    """The command line; the mesh is well before and after."""
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps(outputs))
    cli = Cli(file)
    settled(cli)
    yield cli
    for name in names(outputs):
        restore(hosts, name)
    settled(cli)


def settled(cli: Cli) -> None:
    eventually(lambda: cli.run("status").returncode == 0, SETTLED, "all is well")


def names(outputs: dict[str, Any]) -> list[str]:
    return [one["container"] for one in outputs["containers"]]


def restore(hosts: Hosts, name: str) -> None:
    container = hosts.get(name)
    if container.status == "paused":
        container.unpause()
        container.restart(timeout=5)  # which Docker takes for well sooner than by its next look at the health
    elif container.status != "running":
        container.start()


def troubles(cli: Cli) -> list[str]:
    """What `vpn status` says is not well."""
    status, found = cli.data("status")
    assert status == bool(found["troubles"])
    return list(found["troubles"])


def shows(cli: Cli, trouble: str) -> Callable[[], bool]:
    return lambda: trouble in troubles(cli)


def finds(cli: Cli, finding: str) -> Callable[[], bool]:
    return lambda: finding in cli.findings()


# --- a mesh that is well


def test_a_mesh_that_is_well(vpn: Cli) -> None:
    status, found = vpn.data("status")
    assert (status, found["troubles"]) == (0, [])
    nodes = {one["name"]: one for one in found["nodes"]}
    assert [nodes[name]["address"] for name in "abc"] == ["10.96.0.1", "10.96.0.2", "10.96.0.3"]
    for node in nodes.values():
        assert node["wanted"] == node["applied"] is not None
        assert node["dataplane"] in ("kernel", "userspace wireguard-go")
        for peer in node["peers"]:
            assert 0 <= peer["handshake"] < 180
            assert peer["received"] > 0
    ways = {peer["name"]: peer["transport"] for peer in nodes["a"]["peers"]}
    assert ways == {"b": "udp", "c": "tcp"}
    kinds = sorted(one["kind"] for one in found["parts"])
    assert kinds == ["chain", "config", "gate", "relay", "relay", "workload"]


def test_people_get_a_table_in_time(vpn: Cli) -> None:
    done = vpn.run("status")
    assert done.stderr == ""
    for text in ("10.96.0.1", "1 udp, 1 tcp", "mullvad-proxy-a", "✓"):
        assert text in done.stdout
    tunnels = vpn.run("status", "a").stdout
    for text in ("udp", "tcp", "172.24.0.3:51820"):
        assert text in tunnels
    assert "there is no node x" in vpn.run("status", "x").stderr
    assert min(vpn.seconds("status") for _ in range(3)) < BOUND


def test_a_doctor_finds_nothing_in_it_but_that_it_could_be_faster(vpn: Cli) -> None:
    _, found = vpn.data("doctor")
    slow = [one["name"] for one in vpn.data("status")[1]["nodes"] if one["dataplane"].startswith("userspace")]
    hint = (", ".join(slow), "WireGuard runs in userspace", True)
    assert [(one["place"], one["trouble"], one["hint"]) for one in found] == ([hint] if slow else [])


def test_its_picture(vpn: Cli) -> None:
    assert '-.-|"TCP"|' in vpn.run("graph").stdout
    assert "style=dashed" in vpn.run("graph", "--format", "dot").stdout
    picture = ET.fromstring(vpn.run("graph", "--format", "svg").stdout)
    lines = [one.get("class") for one in picture.iter("{http://www.w3.org/2000/svg}line") if len(one)]
    assert sorted(str(one) for one in lines) == ["up tcp", "up udp", "up udp"]


def test_a_member_is_told_by_its_pass(vpn: Cli, tmp_path: Path) -> None:
    assert vpn.run("pass", "mint", "1", "--token", "7").returncode == 0
    joined = vpn.run("client", "config", "7", "--account", "1", "-o", str(tmp_path / "me.conf"))
    assert joined.returncode == 0, joined.stderr
    eventually(lambda: bool(vpn.data("status")[1]["members"]), SOON, "the gate lets it in")
    (member,) = vpn.data("status")[1]["members"]
    assert (member["token"], member["address"], member["handshake"]) == (7, "10.98.1.7", None)
    assert vpn.run("pass", "burn", "7", "--account", "1").returncode == 0
    eventually(lambda: not vpn.data("status")[1]["members"], SOON, "it is out")


# --- containers


@pytest.mark.parametrize(("harm", "trouble"), [("kill", "exited"), ("pause", "paused")])
def test_a_node_that_was_killed_or_paused(vpn: Cli, hosts: Hosts, harm: str, trouble: str) -> None:
    getattr(hosts.get("itst-b"), harm)()
    eventually(shows(vpn, f"b: the container is {trouble}"), SOON)
    assert f"node b: the container is {trouble}" in vpn.findings()
    assert 'class="down udp"' in vpn.run("graph", "--format", "svg").stdout


NANOSECONDS = 10**9
SICK = {
    "test": ["CMD", "sh", "-c", "echo no page; exit 1"],
    "interval": NANOSECONDS,
    "timeout": NANOSECONDS,
    "retries": 1,
}
GREEDY = ["sh", "-c", "x=x; while :; do x=$x$x; done"]


@pytest.mark.parametrize(
    ("made", "finding"),
    [
        (
            {"command": GREEDY, "mem_limit": "8m", "memswap_limit": "8m"},
            "the container is exited: it was out of memory",
        ),
        ({"command": ["false"], "restart_policy": {"Name": "always"}}, "the container is restarting: Restarting (1)"),
        ({"healthcheck": SICK}, "the container is unhealthy: its health check says: no page"),
        (None, "there is no container: somebody removed it"),
    ],
)
def test_a_container_that_does_not_run_well(
    outputs: dict[str, Any], hosts: Hosts, tmp_path: Path, made: dict[str, Any] | None, finding: str
) -> None:
    """One beside the mesh that its outputs name too: those of the mesh take longer to fall ill."""
    entry = {"name": "stray", "kind": "workload", "host": "local", "container": "itst-stray"}
    file = tmp_path / "mesh.json"
    file.write_text(json.dumps({**outputs, "containers": [*outputs["containers"], entry]}))
    with stray(hosts, made):
        eventually(lambda: f"workload stray: {finding}" in told(Cli(file)), SOON, finding)


def told(cli: Cli) -> str:
    """What `vpn doctor` finds, as text."""
    return "\n".join(f"{trouble}: {found}" for trouble, found in cli.findings().items())


@contextmanager
def stray(hosts: Hosts, made: dict[str, Any] | None) -> Iterator[None]:
    """A container that is made by hand; None: it is none."""
    image = hosts.get("itst-client").image
    one = hosts.client.containers.run(image, name="itst-stray", detach=True, **made) if made else None
    try:
        yield
    finally:
        if one:
            one.remove(force=True)


def test_a_relay_and_the_chain_that_are_down(vpn: Cli, hosts: Hosts) -> None:
    hosts.get("itst-mullvad-proxy-c").kill()
    hosts.get("itst-chain").kill()
    eventually(lambda: any(one.startswith("gate: failed") for one in troubles(vpn)), 2 * SOON, "the gate says so")
    found = vpn.findings()
    for trouble in (
        "relay mullvad-proxy-c: the container is exited",
        "chain chain: the container is exited",
        "gate on host local: it cannot look at the chain",
    ):
        assert trouble in found


def test_a_host_whose_carrier_is_gone(vpn: Cli, hosts: Hosts) -> None:
    hosts.get("itst-config").kill()
    eventually(shows(vpn, "host local: its config carrier does not run"), SOON)
    assert "host local: nobody delivers configs there" in vpn.findings()


def test_a_port_that_another_process_has(vpn: Cli, hosts: Hosts) -> None:
    hosts.get("itst-a").stop(timeout=5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        eventually(lambda: bound(other), SOON, "the port is free")
        with suppress(docker.errors.APIError):
            hosts.get("itst-a").start()
        found = vpn.findings()
    assert "itst-a on host local: its port is taken" in found
    assert not [one for one in found if one.startswith("node a")]


def bound(other: socket.socket) -> bool:
    try:
        other.bind(("0.0.0.0", HOST_PORT))
    except OSError:
        return False
    return True


def test_an_engine_that_does_not_answer(vpn: Cli, outputs: dict[str, Any], tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.json"
    host = outputs["hosts"]["local"] | {"docker": f"unix://{tmp_path}/no.sock"}
    nowhere.write_text(json.dumps({**outputs, "hosts": {"local": host}}))
    done = Cli(nowhere).run("status")
    assert done.returncode == 1
    assert "its engine does not answer" in done.stdout
    assert list(Cli(nowhere).findings()) == ["host local: the Docker engine does not answer"]
    assert vpn.run("status").returncode == 0


# --- nodes


def test_a_config_that_is_not_applied(vpn: Cli, hosts: Hosts) -> None:
    with hosts.paused_agent("itst-b"):
        hosts.out("itst-b", "rm", "/etc/wireguard/applied")
        assert any(one.startswith("b: has not applied config ") for one in troubles(vpn))
        assert "b: its config is not applied" in vpn.findings()


def test_a_config_that_is_refused(vpn: Cli, hosts: Hosts) -> None:
    hosts.get("itst-config").kill()
    hosts.out("itst-b", "sh", "-c", "echo garbage >>/etc/wireguard/wg0.conf")
    eventually(finds(vpn, "b: it is not as configured"), 2 * SOON, "the node refuses it")


def test_keys_that_do_not_match(vpn: Cli, hosts: Hosts) -> None:
    with hosts.paused_agent("itst-b"):
        hosts.out("itst-b", "bash", "-c", "wg set wg0 private-key <(wg genkey)")
        found = vpn.findings()
    assert "b: its key is not the stack's" in found
    assert "b: peers do not have its key" in found
    eventually(lambda: vpn.findings() == {}, SETTLED, "the node repairs it")


def test_a_peer_that_was_removed_by_hand(vpn: Cli, hosts: Hosts, outputs: dict[str, Any]) -> None:
    with hosts.paused_agent("itst-b"):
        hosts.out("itst-b", "wg", "set", "wg0", "peer", outputs["nodes"]["a"]["publicKey"], "remove")
        assert "a: peers do not have its key" in vpn.findings()
    eventually(lambda: vpn.findings() == {}, SETTLED, "the node repairs it")


def test_a_path_that_loses_large_packets(vpn: Cli, hosts: Hosts) -> None:
    nft(hosts, "itst-b", "add table inet narrow; add chain inet narrow out { type filter hook output priority 0; }")
    nft(hosts, "itst-b", "add rule inet narrow out udp dport 51820 meta length > 1300 drop")
    try:
        found = vpn.findings()
    finally:
        nft(hosts, "itst-b", "delete table inet narrow")
    assert "a - b: large packets are lost" in found, found
    largest = int(found["a - b: large packets are lost"].split()[0])
    assert 1300 - 80 < largest <= 1300 - 60  # WireGuard, UDP and IPv4 take 60, and it pads to 16


def nft(hosts: Hosts, name: str, commands: str) -> None:
    hosts.out(name, "nft", commands)


def test_a_node_that_hands_on_nothing(vpn: Cli, hosts: Hosts) -> None:
    forward(hosts, "itst-b", on=False)
    try:
        assert "b: it hands on no packets" in vpn.findings()
    finally:
        forward(hosts, "itst-b", on=True)


def forward(hosts: Hosts, name: str, *, on: bool) -> None:
    process = str(hosts.get(name).attrs["State"]["Pid"])
    setting = f"net.ipv4.ip_forward={int(on)}"
    subprocess.run(["nsenter", "-t", process, "-n", "sysctl", "-q", "-w", setting], check=True)


def test_a_node_that_nobody_can_look_into(vpn: Cli, hosts: Hosts) -> None:
    beneath(hosts, "itst-b", "mount", "--bind", "/dev/null", "/usr/local/bin/report")
    found = vpn.findings()
    hosts.get("itst-b").restart(timeout=5)  # it sees its files anew
    assert "report: Permission denied" in found.pop("b: it cannot be looked at from inside")
    assert found == {}, "all else is seen"


def beneath(hosts: Hosts, name: str, *command: str) -> None:
    """Change what a container sees of files, as it cannot itself, until it is restarted."""
    process = str(hosts.get(name).attrs["State"]["Pid"])
    subprocess.run(["nsenter", "-t", process, "-m", *command], check=True)


def test_what_takes_a_while_to_show(vpn: Cli, hosts: Hosts, outputs: dict[str, Any]) -> None:
    """At once: b's agent hangs; before that is told, c has a tunnel that is dead, and then no WireGuard."""
    with hosts.paused_agent("itst-b"):
        deafened(hosts, outputs["nodes"]["b"]["publicKey"])
        eventually(lambda: vpn.findings().get("c - b: the tunnel is silent") == "never connected", 2 * SOON)
        if not Path("/sys/module/wireguard").exists():
            beneath(hosts, "itst-c", "rm", "/dev/net/tun")
            hosts.out("itst-c", "ip", "link", "del", "wg0")
            eventually(finds(vpn, "c: there is no WireGuard"), 2 * SOON)
        hosts.get("itst-c").restart(timeout=5)  # it has its devices and its firewall anew
        eventually(lambda: vpn.findings().get("b: it is not well", "").startswith("does not answer"), SETTLED)


def deafened(hosts: Hosts, peer: str) -> None:
    """Have c forget a tunnel, and make no new one."""
    nft(hosts, "itst-c", "add table inet deaf; add chain inet deaf in { type filter hook input priority -10; }")
    nft(hosts, "itst-c", "add rule inet deaf in udp sport 51820 udp dport 51820 drop")
    hosts.out("itst-c", "wg", "set", "wg0", "peer", peer, "remove")


LATE = "import time\nreal = time.time\ntime.time = lambda: real() - 5\n"


def test_clocks_that_differ(vpn: Cli, tmp_path: Path) -> None:
    """One kernel has one clock, so it is the reading of this machine that is behind."""
    (tmp_path / "sitecustomize.py").write_text(LATE)
    found = Cli(vpn.outputs, {"PYTHONPATH": str(tmp_path)}).findings()
    told = re.fullmatch(r"host local is (\S+) s ahead of this machine", found.pop("host local: clocks differ"))
    assert told
    assert 4 < float(told[1]) <= 5, "less by what the answer takes"
    assert found == {}


def test_what_is_no_mesh_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mesh.json"
    file.write_text('{"nodes": {}}')
    for name in ("status", "doctor", "graph"):
        done = Cli(file).run(name)
        assert (done.returncode, done.stdout) == (1, "")
        assert "fix: run `pulumi up` once with this version" in done.stderr


# --- logs


def test_logs_of_everything_are_merged_by_time(vpn: Cli, hosts: Hosts) -> None:
    mark = secrets.token_hex(8)
    for name in ("itst-b", "itst-a", "itst-config"):
        hosts.out(name, "sh", "-c", f"echo {mark} >/proc/1/fd/1")
    lines = [json.loads(line) for line in vpn.run("logs", "--since", "1m", "--json").stdout.splitlines()]
    assert [line["name"] for line in lines if line["text"] == mark] == ["b", "a", "config"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    named = [line.split()[1:] for line in vpn.run("logs", "a", "itst-b").stdout.splitlines()]
    assert [line for line in named if mark in line] == [["b", mark], ["a", mark]]
    assert {line[0] for line in named} == {"a", "b"}
    assert len(vpn.run("logs", "a", "--tail", "1").stdout.splitlines()) == 1


def test_logs_that_are_followed(vpn: Cli, hosts: Hosts) -> None:
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    hosts.out("itst-a", "sh", "-c", f"echo {first} >/proc/1/fd/1")
    with subprocess.Popen(
        vpn.command("logs", "a", "b", "--follow", "--json"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            assert any(first in line for line in iter(process.stdout.readline, ""))
            hosts.get("itst-b").restart(timeout=1)
            hosts.out("itst-b", "sh", "-c", f"echo {second} >/proc/1/fd/1")
            told = [json.loads(line) for line in until(process.stdout, second)]
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert {"node starts"} <= {line["text"].partition(" ")[2] for line in told}, "a restart does not end it"
    assert not [line for line in told if line["text"] == first], "nothing is told twice"


def until(lines: IO[str], mark: str) -> Iterator[str]:
    for line in iter(lines.readline, ""):
        yield line
        if mark in line:
            return


def test_logs_of_nobody(vpn: Cli) -> None:
    done = vpn.run("logs", "d")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no d in the mesh" in done.stderr


# --- the bundle


def test_a_bundle_holds_no_secret(
    vpn: Cli, stack: Stack, hosts: Hosts, outputs: dict[str, Any], tmp_path: Path
) -> None:
    """Canaries in logs: secrets of the mesh, however they are written, and others that only look like some."""
    resources = (stack.api.export_stack().deployment or {})["resources"]
    (seed,) = [
        json.loads(one["outputs"]["result"]["plaintext"]) for one in resources if "RandomPassword" in one["type"]
    ]
    keys = [form for key in live_secrets(hosts) for form in written(key)]
    other = [b64encode(secrets.token_bytes(31) + b"x").decode(), secrets.token_hex(12), secrets.token_hex(11)]
    said = f"{seed} <{keys[0]}> key: {other[0]}, password={other[1]} http://me:{other[2]}@db/"
    log_of(hosts, "itst-b", said)
    log_of(hosts, "itst-client", *(f'{{"it": "{form}"}} at {form}/x' for form in (*keys, *written(seed))))
    texts = bundle(vpn.command("bundle", "-o", str(tmp_path / "by-mesh.tar.gz")), {}, tmp_path / "by-mesh.tar.gz")
    assert canaries_in(texts, [*keys, *other]) == []
    by_stack = [str(VPN), "bundle", "--stack", "itst", "-o", str(tmp_path / "by-stack.tar.gz")]
    texts = bundle(by_stack, stack.variables, tmp_path / "by-stack.tar.gz")
    assert canaries_in(texts, [*keys, *written(seed), *other]) == []
    (log,) = [text for name, text in texts.items() if name.endswith("local/b/log.txt")]
    assert f"{REMOVED} <{REMOVED}> key: {REMOVED}, password={REMOVED} http://{REMOVED}@db/" in log
    looks = next(text for name, text in texts.items() if name.endswith("local/a/looks.txt"))
    for text in (outputs["nodes"]["b"]["publicKey"], "latest handshake", "table inet dstack_vpn", "10.96.0.1"):
        assert text in looks, "what helps is still there"


def test_without_redaction_there_is_no_bundle_and_without_the_proof_there_are_canaries(
    vpn: Cli, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = live_secrets(hosts)
    log_of(hosts, "itst-client", *keys)
    file = tmp_path / "bundle.tar.gz"
    arguments = ["bundle", "--mesh", str(vpn.outputs), "-o", str(file)]
    monkeypatch.setattr(Redaction, "clean", lambda _, text: text)
    assert main(arguments) == 1
    assert "itst-client/log.txt holds a secret of the mesh" in capsys.readouterr().err
    assert not file.exists()
    monkeypatch.setattr(Redaction, "left", lambda _, __: [])
    with suppress(SystemExit):
        main(arguments)
    assert {canary for _, canary in canaries_in(read(file), keys)} == set(keys)


def live_secrets(hosts: Hosts) -> list[str]:
    """What WireGuard itself has at a node: its private key, and the keys of its pairs."""
    shared = [line.split()[1] for line in hosts.out("itst-a", "wg", "show", "wg0", "preshared-keys").splitlines()]
    return [hosts.out("itst-a", "wg", "show", "wg0", "private-key").strip(), *shared]


def written(secret: str) -> list[str]:
    """A secret, and how programs write it."""
    text = secret.encode()
    forms = [secret, quote(secret, safe=""), b64encode(text).decode(), text.hex()]
    with suppress(ValueError):
        return [*forms, b64decode(secret, validate=True).hex(), urlsafe_b64encode(b64decode(secret)).decode()]
    return forms


def log_of(hosts: Hosts, name: str, *lines: str) -> None:
    """Say it as the container's first process does."""
    hosts.out(name, "sh", "-c", 'for line; do printf "%s\\n" "$line"; done >/proc/1/fd/1', "sh", *lines)


def bundle(command: list[str], env: Mapping[str, str], file: Path) -> dict[str, str]:
    """Have one made, and read it."""
    subprocess.run(command, check=True, timeout=SETTLED, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    assert file.stat().st_mode & 0o777 == 0o600
    return read(file)


def read(file: Path) -> dict[str, str]:
    with tarfile.open(file) as tar:
        return {one.name: (tar.extractfile(one) or io.BytesIO()).read().decode() for one in tar}


def canaries_in(texts: Mapping[str, str], canaries: Sequence[str]) -> list[tuple[str, str]]:
    """Which are still there, and in what."""
    names = {name.removeprefix("vpn-bundle/") for name in texts}
    assert {"outputs.json", "status.json", "doctor.json", "versions.json", "local/chain/log.txt"} <= names
    return [(name, canary) for name, text in texts.items() for canary in canaries if canary in text]
