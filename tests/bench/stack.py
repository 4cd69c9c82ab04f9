"""The real stack, on a copy of the project with a Pulumi backend of its own.

Driven by the command line, as `make up` does it: the Automation API would add its own questions after every update.
"""

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.bench.engine import PREFIX, containers, wait_for_ping
from tests.bench.shell import run
from vpn.components.image import context_hash
from vpn.model.config import parse
from vpn.model.topology import Topology

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ("Pulumi.yaml", "__main__.py", "vpn", "docker")
NAME = "bench"
RANGES = {
    "name": PREFIX,
    "vpnRange": "10.90.0.0/24",
    "underlayRange": "172.29.0.0/16",
    "siteRange": "10.91.0.0/16",
    "hostPort": 53820,
}
SHORT_SECONDS = 60
UPDATE = ("--yes", "--skip-preview", "--non-interactive", "--stack", NAME)


def config(nodes: int, workloads: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Configuration of a mesh of so many nodes: node-1, node-2 ..."""
    return {**RANGES, "nodes": [{"name": f"node-{n}"} for n in range(1, nodes + 1)], "workloads": list(workloads)}


def topology(values: Mapping[str, Any]) -> Topology:
    """The mesh that the stack makes of a configuration."""
    schema = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())["config"]
    return parse({key: one["default"] for key, one in schema.items() if "default" in one} | dict(values))


def container(node: str) -> str:
    """Name of a node's container."""
    return f"{PREFIX}-{node}"


def node_image() -> str:
    """Name that the stack gives its node image."""
    return f"{PREFIX}/node:{context_hash(PROJECT / 'docker/wireguard')[:12]}"


class Stack:
    """A stack in a folder that is thrown away."""

    def __init__(self, folder: Path) -> None:
        """Copy the project into a folder and make a stack without resources."""
        self._project = folder / "project"
        self._env = _environment(folder)
        _copy(self._project)
        self._pulumi("stack", "init", NAME, "--no-select", timeout=SHORT_SECONDS)
        self._file = self._project / f"Pulumi.{NAME}.yaml"
        self._salt = yaml.safe_load(self._file.read_text())
        self.topology = topology(config(1))

    def configure(self, values: Mapping[str, Any]) -> None:
        """Choose what the next `up` brings up."""
        settings = {f"dstack-vpn:{key}": value for key, value in values.items()}
        self._file.write_text(yaml.safe_dump({**self._salt, "config": settings}))
        self.topology = topology(values)

    def up(self, *, refresh: bool = True) -> None:
        """`pulumi up`, until the first node reaches the last through the tunnel.

        Without refresh it trusts its state: what was changed by hand goes unnoticed.
        """
        options = UPDATE if refresh else (*UPDATE, "--refresh=false")
        self._pulumi("up", *options, timeout=60 + 5 * len(self.topology.nodes) + 20 * len(self.topology.places))
        first, last = self.topology.nodes[0], self.topology.nodes[-1]
        wait_for_ping(container(first.name), str(last.address))

    def destroy(self) -> None:
        """`pulumi destroy`."""
        self._pulumi("destroy", *UPDATE, timeout=60 + 5 * len(self.topology.nodes) + 20 * len(self.topology.places))

    def resources(self) -> int:
        """How many resources it has, as Pulumi counts them: the stack and components too, providers not."""
        state = json.loads(self._pulumi("stack", "export", "--stack", NAME, timeout=SHORT_SECONDS))
        kinds = [resource["type"] for resource in state["deployment"]["resources"]]
        return sum(not kind.startswith("pulumi:providers:") for kind in kinds)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets too."""
        options = ("--show-secrets", "--json", "--stack", NAME)
        return dict(json.loads(self._pulumi("stack", "output", *options, timeout=SHORT_SECONDS)))

    def look(self) -> None:
        """`vpn status`, whatever it finds."""
        vpn = f"{sys.executable} -m vpn.cli status --stack {NAME} || [ $? = 1 ]"
        run(["sh", "-c", vpn], env=self._env, cwd=PROJECT, timeout=SHORT_SECONDS)

    def nodes(self) -> dict[str, str]:
        """ID of every node's container, by name."""
        return containers(f"{PREFIX}-node-")

    def _pulumi(self, *arguments: str, timeout: float) -> str:
        return run(["pulumi", *arguments], env=self._env, cwd=self._project, timeout=timeout)


def _environment(folder: Path) -> dict[str, str]:
    """The user's, but for what leads to the user's own stacks."""
    passphrase, state = folder / "passphrase", folder / "state"
    passphrase.write_text(secrets.token_hex())
    passphrase.chmod(0o600)
    state.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_CONFIG_PASSPHRASE")}
    own = {"PULUMI_BACKEND_URL": f"file://{state}", "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase)}
    return {**kept, **own, "PULUMI_SKIP_UPDATE_CHECK": "1"}


def _copy(project: Path) -> None:
    project.mkdir()
    for part in PARTS:
        source = PROJECT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, project / part)
    (project / ".venv").symlink_to(sys.prefix)  # where Pulumi.yaml says it is
