"""A node in a confidential VM, behind a gateway as DStack has it; the VM is simulated, all else is real."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from dstack_simulator.certificates import Authority
from pulumi.automation import CommandError

from tests.integration.cli import Cli
from tests.integration.hosts import Hosts, eventually
from tests.integration.stack import CHECKOUT, Stack
from tests.integration.vm import APP_ID, DOMAIN, HERE, THERE, Vm, vm
from vpn.keepers import KeeperError, ask, give
from vpn.model.ingress import Ingress, Tls

pytestmark = pytest.mark.timeout(600)

A, B, C = "100.64.10.1", "100.64.10.2", "100.64.10.3"
NODES = ("itd-a", "itd-b")


@dataclass
class Mesh:
    """Two nodes here, one in the VM."""

    stack: Stack
    vm: Vm
    here: Hosts

    @property
    def node_c(self) -> str:
        return self.vm.container("node")

    def pings(self) -> bool:
        """Both ways, between here and there; all are sent, because those from here open tunnels anew."""
        here = [self.here.pings(node, C) for node in NODES]
        return all([*here, self.vm.hosts.pings(self.node_c, A), self.vm.hosts.pings(self.node_c, B)])

    def keeper(self) -> Ingress:
        name = f"{APP_ID}-51821.{DOMAIN}"
        return Ingress(
            endpoint=f"{HERE}:{self.vm.gateway_port}", tls=Tls(name=name, authorities=self.vm.certificate.text)
        )

    def configure(self, **more: Any) -> None:
        """Change the host of the VM."""
        self.stack.configure(hosts=[{"name": "here", "inbound": "none"}, self.vm.host(app=APP_ID, **more)])


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, hosts: Hosts) -> Iterator[Mesh]:
    with vm() as machine:
        config: dict[str, Any] = {
            "name": "itd",
            "vpnRange": "100.64.10.0/24",
            "underlayRange": "100.65.0.0/16",
            "siteRange": "100.66.0.0/16",
            "hostPort": 0,
            "hosts": [{"name": "here", "inbound": "none"}, machine.host()],
            "nodes": [{"name": "a", "host": "here"}, {"name": "b", "host": "here"}, {"name": "c", "host": "vm"}],
            "workloads": [
                {"name": "itd-client", "node": "a", "build": "docker/test-client"},
                {"name": "itd-web", "node": "c", "image": machine.images["web"]},
            ],
        }
        stack = Stack(tmp_path_factory.mktemp("itd"), config, name="itd")
        try:
            stack.up()
            before = hosts.ids(*NODES)
            machine.boot(stack.outputs()["guests"]["c"]["appCompose"])
            found = Mesh(stack, machine, hosts)
            found.configure()
            stack.up()
            assert hosts.ids(*NODES) == before, "a node in a VM replaces nothing elsewhere"
            yield found
        finally:
            stack.destroy()
        assert [one.name for one in hosts.client.containers.list(all=True) if one.name.startswith("itd-")] == []


@pytest.fixture(autouse=True)
def well(mesh: Mesh) -> Iterator[None]:
    mesh.configure()
    eventually(mesh.pings, 60, "all is well before")
    yield
    mesh.vm.is_reachable = True


def test_a_page_comes_out_of_the_vm_through_its_gateway(mesh: Mesh) -> None:
    eventually(lambda: mesh.here.page("itd-client", "itd-web") is not None, 20)
    assert f"{APP_ID}-51820.{DOMAIN}" in mesh.vm.gateway.asked
    assert mesh.stack.outputs()["links"]["between"] == {"here - vm": "TCP, opened from here: nothing gets in there"}


def test_the_command_line_writes_what_the_vm_runs_and_checks_the_mesh(mesh: Mesh, tmp_path: Path) -> None:
    outputs = mesh.stack.outputs()
    (tmp_path / "mesh.json").write_text(json.dumps(outputs))

    def vpn(*arguments: str) -> Any:
        command = [sys.executable, "-m", "vpn.cli", *arguments, "--mesh", str(tmp_path / "mesh.json"), "--json"]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=True)
        return json.loads(done.stdout)

    written = vpn("dstack", "files", "c", str(tmp_path / "c"))
    app_compose = (tmp_path / "c" / "app-compose.json").read_bytes()
    assert app_compose == (mesh.vm.run / "app-compose.json").read_bytes()
    assert sha256(app_compose).hexdigest() == written["composeHash"]
    assert [one["admitted"] for one in vpn("dstack", "list")] == [True]
    looked = {(line["source"], line["target"]): line["ok"] for line in vpn("check")}
    assert looked == {("a", "b"): True, ("a", "c"): True, ("b", "a"): True, ("b", "c"): True}


def test_status_is_what_its_peers_and_its_keeper_say(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "mesh.json").write_text(json.dumps(mesh.stack.outputs()))
    vpn = Cli(tmp_path / "mesh.json")
    eventually(lambda: vpn.run("status").returncode == 0, 60, "all is well")
    node = next(one for one in vpn.data("status")[1]["nodes"] if one["name"] == "c")
    assert [(peer["name"], peer["transport"]) for peer in node["peers"]] == [("a", "tcp"), ("b", "tcp")]
    assert all(peer["received"] > 0 for peer in node["peers"])
    assert vpn.findings() == {}
    mesh.vm.is_reachable = False
    assert "c: the confidential VM is not well" in vpn.findings()


def test_one_more_up_changes_nothing_and_the_evidence_told_stays(mesh: Mesh) -> None:
    before = mesh.stack.outputs()["guests"]
    assert set(mesh.stack.changes()) == {"same"}
    mesh.stack.up()
    assert mesh.stack.outputs()["guests"] == before
    assert before["c"]["admitted"]


def test_the_state_and_the_outputs_have_no_private_key_of_the_vm(mesh: Mesh) -> None:
    config = mesh.vm.hosts.out(mesh.vm.container("node"), "cat", "/etc/wireguard/wg0.conf")
    (key,) = re.findall(r"PrivateKey = (\S+)", config)
    files = [path for path in mesh.stack.backend.rglob("*") if path.is_file()]
    assert [path for path in files if key.encode() in path.read_bytes()] == []
    assert "PresharedKey" not in config
    assert key not in str(mesh.stack.outputs())


def test_the_gateway_cuts_connections_and_the_tunnel_goes_on(mesh: Mesh) -> None:
    mesh.vm.gateway.most = 3
    try:
        count = len(mesh.vm.gateway.asked)
        mesh.here.get("itd-mullvad-proxy-a").restart()  # so that no connection from before goes on
        with no_longer_gap_than(mesh, 5):
            eventually(lambda: len(mesh.vm.gateway.asked) > count + 4, 30, "it was cut several times")
    finally:
        mesh.vm.gateway.most = None


@contextmanager
def no_longer_gap_than(mesh: Mesh, seconds: float) -> Iterator[None]:
    """Five pings a second from here to the VM meanwhile: there is an answer at least that often."""
    mesh.here.out("itd-a", "sh", "-c", f"ping -D -i 0.2 {C} >/run/pings 2>&1 & echo $! >/run/pings.pid")
    begun = time.time()
    yield
    end = time.time()
    lines = mesh.here.out("itd-a", "sh", "-c", "kill $(cat /run/pings.pid); cat /run/pings")
    times = [float(moment) for moment in re.findall(r"\[([0-9.]+)\] .*bytes from", lines)]
    gaps = [later - earlier for earlier, later in zip([begun, *times], [*times, end], strict=True)]
    assert max(gaps) < seconds


def test_nothing_else_gets_in_at_the_vm(mesh: Mesh) -> None:
    def opens(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((THERE, port)) == 0

    serve = ["python3", "-m", "http.server", "7000"]
    ports = {"7000/tcp": 7000}
    mesh.vm.hosts.client.containers.run("itd/simulator", name="stray", detach=True, ports=ports, entrypoint=serve)
    try:
        assert opens(51820)
        assert opens(51821)
        mesh.vm.as_root("nft delete table inet dstack_vpn_guest")
        eventually(lambda: opens(7000), 20, "without the init script it gets in")
        mesh.vm.boot(mesh.stack.outputs()["guests"]["c"]["appCompose"])
        assert not opens(7000)
    finally:
        mesh.vm.hosts.get("stray").remove(force=True)


def test_a_new_epoch_gives_another_key_and_restarts_nothing(mesh: Mesh) -> None:
    before = mesh.stack.outputs()["nodes"]["c"]["publicKey"]
    ids, there = mesh.here.ids(*NODES), mesh.vm.hosts.ids(mesh.node_c)
    nodes = [*mesh.stack.config["nodes"][:2], {"name": "c", "host": "vm", "keyGeneration": 1}]
    with no_longer_gap_than(mesh, 5):
        mesh.stack.up(nodes=nodes)
        eventually(mesh.pings, 20)
    after = mesh.stack.outputs()["nodes"]["c"]["publicKey"]
    assert before != after
    assert after in mesh.here.peers("itd-a")
    assert before not in mesh.here.peers("itd-a")
    assert (mesh.here.ids(*NODES), mesh.vm.hosts.ids(mesh.node_c)) == (ids, there)


def test_the_vm_comes_back_from_a_reboot_by_itself(mesh: Mesh) -> None:
    mesh.vm.compose("kill")
    assert not mesh.here.pings("itd-a", C)
    mesh.vm.boot(mesh.stack.outputs()["guests"]["c"]["appCompose"])
    eventually(mesh.pings, 60)


def test_an_old_order_is_refused_and_so_is_one_of_somebody_else(mesh: Mesh) -> None:
    folder = mesh.vm.hosts.out(mesh.vm.container("keeper"), "ls", "/state")
    kept = mesh.vm.hosts.out(mesh.vm.container("keeper"), "cat", f"/state/{folder.split()[0]}")
    with pytest.raises(KeeperError, match="409"):
        give(mesh.keeper(), kept)
    with pytest.raises(KeeperError, match="403"):
        give(mesh.keeper(), '{"order": "{}", "signature": "' + "00" * 64 + '"}')
    with pytest.raises(KeeperError, match="400"):
        ask(mesh.keeper(), "GET", "/evidence?epoch=1&nonce=00")


def refusal(mesh: Mesh, **more: Any) -> str:
    """What an `up` says, which touches nothing."""
    before = mesh.here.ids(*NODES, "itd-config")
    mesh.configure(**more)
    with pytest.raises(CommandError) as error:
        mesh.stack.api.up()
    assert mesh.here.ids(*NODES, "itd-config") == before
    return str(error.value)


def test_a_vm_that_does_not_answer_is_named_and_nothing_is_touched(mesh: Mesh) -> None:
    mesh.vm.is_reachable = False
    said = refusal(mesh)
    assert "node c: " in said
    assert "does not answer" in said
    assert mesh.here.pings("itd-a", B)


def test_another_system_key_provider_or_root_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    other = [{**mesh.vm.host()["measurements"][0], "rtmr1": "00" * 48}]
    assert "wrong image" in refusal(mesh, measurements=other)
    assert "wrong key provider" in refusal(mesh, keyProvider={"name": "kms", "id": "00"})
    root = tmp_path / "root.der"
    root.write_bytes(Authority(b"somebody else").root_der)
    assert "signature chain" in refusal(mesh, insecureRoot=str(root))


def test_a_changed_application_is_refused(mesh: Mesh) -> None:
    compose = mesh.stack.outputs()["guests"]["c"]["appCompose"]
    try:
        mesh.vm.boot(compose.replace('"public_logs":false', '"public_logs":true'))
        eventually(lambda: "node c: " in refusal(mesh) and "wrong compose hash" in refusal(mesh), 30)
    finally:
        mesh.vm.boot(compose)
