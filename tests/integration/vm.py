"""A confidential VM as the tests know it: an engine in a namespace, with the simulator as guest agent.

It starts as DStack's guest does: the init script, the engine, the guest agent, then the containers. There is no TDX.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dstack_simulator import events
from dstack_simulator.certificates import Authority
from dstack_simulator.collateral import collateral
from dstack_simulator.guest import MRTD, Guest

from tests.compose import compose_command
from tests.integration.engine import Engine, engine_in
from tests.integration.hosts import Hosts, eventually
from tests.integration.network import Namespace, behind_this_machine
from tests.integration.stack import CHECKOUT
from tests.tls_gateway import Certificate, Gateway, certified, serving
from vpn.model.app_compose import AppCompose

NAMESPACE = "itd-vm"
RANGE, HERE, THERE = "10.79.0.0/30", "10.79.0.1", "10.79.0.2"
DOMAIN = "dstack.example"
SEED = "integration"
APP_ID = "a1" * 20
REGISTRY = "127.0.0.1:5000"
IMAGES = {
    "node": "docker/wireguard",
    "relay": "docker/udp-over-tcp",
    "keeper": "docker/dstack-node",
    "web": "docker/nginx",
}
AUTHORITY = Authority(SEED.encode())


def specimen() -> Guest:
    """A guest like the VM's, for what does not depend on what it runs."""
    return Guest(AUTHORITY, AppCompose(name="x", docker_compose_file="").text().encode(), bytes.fromhex(APP_ID), "1")


@dataclass
class Vm:
    """The machine and the gateway before it."""

    engine: Engine
    hosts: Hosts
    run: Path
    """What is /run there."""
    namespace: Namespace
    gateway: Gateway
    certificate: Certificate
    images: dict[str, str] = field(default_factory=dict)
    """By digest."""
    gateway_port: int = 0
    is_reachable: bool = True

    def host(self, **more: Any) -> dict[str, Any]:
        """An entry of `hosts`."""
        registers = events.registers(specimen().log)
        image = {"mrtd": MRTD, **{f"rtmr{number}": registers[number] for number in range(3)}}
        return {
            "name": "vm",
            "kind": "dstack",
            "gateway": {
                "domain": DOMAIN,
                "endpoint": f"{HERE}:{self.gateway_port}",
                "authorities": self.certificate.text,
            },
            "images": {name: self.images[name] for name in ("node", "relay", "keeper")},
            "keyProvider": {"name": "kms", "id": specimen().provider_id.hex()},
            "measurements": [{name: value.hex() for name, value in image.items()}],
            "collateral": str(self.run / "collateral.json"),
            "insecureRoot": str(self.run / "root.der"),
            **more,
        }

    def target(self, name: str) -> tuple[str, int]:
        """Where the gateway hands on what is for a name."""
        app, _, port = name.removesuffix(f".{DOMAIN}").partition("-")
        if app != APP_ID or not port.isdecimal() or not self.is_reachable:
            raise ConnectionRefusedError(name)
        return THERE, int(port)

    def boot(self, app_compose: str) -> None:
        """Run an application after a reboot, in place of the one that ran."""
        if (self.run / "docker-compose.yaml").exists():
            self.compose("stop", "--timeout", "2")
        (self.run / "app-compose.json").write_bytes(app_compose.encode())
        compose = json.loads(app_compose)
        (self.run / "docker-compose.yaml").write_text(compose["docker_compose_file"])
        self.as_root(compose["init_script"])
        self.start_agent()
        self.compose("up", "--detach", "--remove-orphans")

    def as_root(self, script: str) -> None:
        """Run a script in the machine's own network. DStack's guest has nft(8) itself; here the node's image has it."""
        self.hosts.client.containers.run(
            self.images["node"],
            ["sh", "-euc", script],
            network_mode="host",
            cap_drop=["ALL"],
            cap_add=["NET_ADMIN"],
            remove=True,
        )

    def start_agent(self) -> None:
        """The guest agent, which measures what app-compose.json says."""
        for old in self.hosts.client.containers.list(all=True, filters={"name": "^/simulator$"}):
            old.remove(force=True)
        command = ["--app-compose", "/run/app-compose.json", "--app-id", APP_ID, "--seed", SEED]
        self.hosts.client.containers.run(
            "itd/simulator",
            command,
            name="simulator",
            detach=True,
            network_mode="none",
            volumes={"/run": {"bind": "/run", "mode": "rw"}},
        )
        eventually((self.run / "dstack.sock").exists, 30, "the guest agent is there")

    def compose(self, *arguments: str) -> None:
        """Run docker-compose, as the guest does."""
        command = [*compose_command(), "--project-name", "dstack", "--file", str(self.run / "docker-compose.yaml")]
        done = subprocess.run(
            [*command, *arguments],
            env={"DOCKER_HOST": self.engine.url, "PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def container(self, service: str) -> str:
        """Name of a service's container."""
        (found,) = self.hosts.client.containers.list(
            all=True, filters={"label": f"com.docker.compose.service={service}"}
        )
        return str(found.name)


@contextmanager
def vm() -> Iterator[Vm]:
    """All of it; gone afterwards."""
    with ExitStack() as undo:
        namespace = Namespace.made(NAMESPACE, undo)
        behind_this_machine(namespace, RANGE, undo)
        run = Path(tempfile.mkdtemp(prefix="itd-run-"))
        undo.callback(shutil.rmtree, run)
        engine = engine_in(NAMESPACE, undo, own_run=run)
        hosts = Hosts(undo.enter_context(engine.connected()))
        certificate = certified(run, f"*.{DOMAIN}")
        made = Vm(engine, hosts, run, namespace, Gateway(certificate=certificate, to=(THERE, 0)), certificate)
        made.gateway.to = made.target
        made.images = published(hosts)
        (run / "root.der").write_bytes(AUTHORITY.root_der)
        (run / "collateral.json").write_text(collateral(AUTHORITY))
        made.gateway_port = undo.enter_context(serving(made.gateway, HERE))
        yield made


def published(hosts: Hosts) -> dict[str, str]:
    """The images in a registry, as everybody names what everybody may have: by digest."""
    client = hosts.client
    client.images.build(path=str(Path(__file__).parent / "registry"), tag="itd/registry", rm=True)
    client.images.build(path=str(CHECKOUT / "docker/dstack-simulator"), tag="itd/simulator", rm=True)
    client.containers.run("itd/registry", name="registry", detach=True, network_mode="host")
    return {name: _pushed(hosts, name, folder) for name, folder in IMAGES.items()}


def _pushed(hosts: Hosts, name: str, folder: str) -> str:
    repository = f"{REGISTRY}/{name}"
    image, _ = hosts.client.images.build(path=str(CHECKOUT / folder), tag=repository, rm=True)
    said: list[Any] = []

    def is_pushed() -> bool:
        said[:] = list(hosts.client.api.push(repository, stream=True, decode=True))
        return not any("error" in line for line in said)

    eventually(is_pushed, 60, f"{repository} is pushed")
    image.reload()
    (digest,) = [one for one in image.attrs["RepoDigests"] if one.startswith(repository)]
    return str(digest)
