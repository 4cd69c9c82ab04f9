"""Two nodes by Pulumi beside the same two nodes by docker-compose, until the first ping crosses the tunnel.

The same images, networks, volumes, rights and health checks: the bench compares what both started, and refuses to
go on when it differs. Compose gets the ready configuration as a file; Pulumi derives it from its state.
"""

import json
import secrets
import shutil
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bootstrap import apt
from bootstrap.failure import BootstrapError
from tests.bench.engine import PREFIX, containers, docker, setup, wait_for_ping
from tests.bench.shell import BenchError, run, say, seconds
from tests.bench.stack import Stack, config, container
from tests.bench.table import Row, Target
from vpn.components import config_carrier, wireguard_node
from vpn.components.container import GRACE_SECONDS, LOGS, TMPFS
from vpn.model.bundle import archive
from vpn.model.keys import KeyRing
from vpn.model.topology import Node, Topology

STEP_SECONDS = 120
UP, AGAIN, DESTROY = "up", "up again, no change", "destroy"
TARGETS = {UP: Target(limit=3)}


class Compose:
    """The mesh as a docker-compose project."""

    def __init__(self, folder: Path, mesh: Topology, image: str) -> None:
        """Write the project; nothing is started."""
        self._mesh = mesh
        self._command = (*_command(), "--project-name", PREFIX, "--file", str(folder / "compose.json"))
        bundle = folder / "bundle.tar.gz"
        bundle.write_bytes(b64decode(archive(mesh, KeyRing(seed=secrets.token_hex(), mesh=mesh.name))))
        (folder / "compose.json").write_text(json.dumps(_document(mesh, image, bundle)))

    def up(self) -> None:
        """`docker-compose up`, until the first node reaches the last through the tunnel."""
        run([*self._command, "up", "--detach"], timeout=STEP_SECONDS)
        first, last = self._mesh.nodes[0], self._mesh.nodes[-1]
        wait_for_ping(container(first.name), str(last.address))

    def destroy(self) -> None:
        """`docker-compose down`."""
        run([*self._command, "down", "--volumes", "--timeout", str(GRACE_SECONDS)], timeout=STEP_SECONDS)


def measure(stack: Stack, folder: Path, image: str, rounds: int) -> list[Row]:
    """Bring the mesh up, again, and down by one and by the other, round by round."""
    stack.configure(config(2))
    pulumi, compose = Times("pulumi", stack), Times("compose", Compose(folder, stack.topology, image))
    for number in range(rounds):
        for one in (pulumi, compose) if number % 2 == 0 else (compose, pulumi):
            one.take()
            say(f"compose, round {number + 1} of {rounds}: {one}")
        _check_equal(pulumi.setups, compose.setups)
    return [
        Row(
            name=f"2 nodes: {step}",
            unit="s",
            samples=pulumi.steps[step],
            against="compose",
            reference=compose.steps[step],
            target=TARGETS.get(step),
        )
        for step in (UP, AGAIN, DESTROY)
    ]


class Times:
    """How long one of the two took, step by step."""

    def __init__(self, name: str, mesh: Stack | Compose) -> None:
        self.name = name
        self.steps: dict[str, list[float]] = {step: [] for step in (UP, AGAIN, DESTROY)}
        self.setups: dict[str, dict[str, Any]] = {}
        self._mesh = mesh

    def take(self) -> None:
        """One life of the mesh."""
        self.steps[UP].append(seconds(self._mesh.up))
        self.setups = {name: setup(name) for name in containers(f"{PREFIX}-")}
        self.steps[AGAIN].append(seconds(self._mesh.up))
        self.steps[DESTROY].append(seconds(self._mesh.destroy))

    def __str__(self) -> str:
        return f"{self.name}: " + ", ".join(f"{step} {taken[-1]:.1f} s" for step, taken in self.steps.items())


def _check_equal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise BenchError when the two did not start the same containers in the same way."""
    for name in sorted({*ours, *theirs}):
        one, other = (json.loads(json.dumps(side.get(name, {}))) for side in (ours, theirs))
        keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
        if keys:
            told = "; ".join(f"{key}: {one.get(key)} and {other.get(key)}" for key in keys)
            raise BenchError(f"Pulumi and compose made {name} differently: {told}")


def _command() -> list[str]:
    """Compose as a plugin of docker, else the older program, which Debian has a package of."""
    if "compose" in docker("info", "--format", "{{range .ClientInfo.Plugins}}{{.Name}} {{end}}").split():
        return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        say("compose: installing docker-compose")
        try:
            apt.install("docker-compose", why="the bench compares with it", env=_system())
        except BootstrapError as error:
            raise BenchError(str(error)) from None
    return ["docker-compose"]


def _system() -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


# --- the mesh as a compose file ---------------------------------------------------------------------------------------


def _document(mesh: Topology, image: str, bundle: Path) -> dict[str, Any]:
    nodes = {node.name: _node(mesh, node, image) for node in mesh.nodes}
    volumes = {node.name: {"name": f"{container(node.name)}-config"} for node in mesh.nodes}
    networks = {f"{node.name}-site": _site(node) for node in mesh.nodes}
    ipam = {"subnet": str(mesh.underlay_range), "gateway": str(mesh.underlay_gateway)}
    underlay = {"name": f"{PREFIX}-network", "driver": "bridge", "ipam": {"config": [ipam]}}
    services = {**nodes, "config": _carrier(mesh, image, bundle)}
    return {"services": services, "volumes": volumes, "networks": {"underlay": underlay, **networks}}


def _hardened(name: str, image: str, memory: int) -> dict[str, Any]:
    limits = {"mem_limit": f"{memory}m", "memswap_limit": f"{memory}m", "tmpfs": [f"/run:{TMPFS}"]}
    rights = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "restart": "unless-stopped"}
    logging = {"driver": "json-file", "options": LOGS}
    named = {"container_name": name, "image": image, "stop_grace_period": f"{GRACE_SECONDS}s"}
    return {**named, **limits, **rights, "logging": logging}


def _node(mesh: Topology, node: Node, image: str) -> dict[str, Any]:
    name = container(node.name)
    networks = {"underlay": node.underlay, f"{node.name}-site": node.site_address}
    return {
        **_hardened(name, image, wireguard_node.MEMORY_MIB),
        "hostname": name,
        "read_only": True,
        "cap_add": list(wireguard_node.CAPABILITIES),
        "sysctls": wireguard_node.SYSCTLS,
        "devices": ["/dev/net/tun:/dev/net/tun:rwm"],
        "volumes": [f"{node.name}:{wireguard_node.CONFIG_FOLDER}"],
        "networks": {network: {"ipv4_address": str(address)} for network, address in networks.items()},
        "ports": [f"0.0.0.0:{node.host_port}:{mesh.listen_port}/udp"],
        "healthcheck": {"test": ["CMD", "health"], "interval": "30s", "timeout": "5s", "retries": 2},
    }


def _site(node: Node) -> dict[str, Any]:
    bridge = "com.docker.network.bridge"
    return {
        "name": f"{container(node.name)}-site",
        "driver": "bridge",
        "driver_opts": {f"{bridge}.inhibit_ipv4": "true", f"{bridge}.enable_ip_masquerade": "false"},
        "ipam": {"config": [{"subnet": str(node.site), "gateway": str(node.gateway)}]},
    }


def _carrier(mesh: Topology, image: str, bundle: Path) -> dict[str, Any]:
    delivered = {"test": ["CMD", "test", "-e", "/run/delivered"], "interval": "2s", "timeout": "5s", "retries": 1}
    return {
        **_hardened(f"{PREFIX}-config", image, config_carrier.MEMORY_MIB),
        "command": ["carrier"],
        "network_mode": "none",
        "volumes": [f"{bundle}:/bundle.tar.gz:ro", *(f"{node.name}:/config/{node.name}" for node in mesh.nodes)],
        "healthcheck": delivered,
    }
