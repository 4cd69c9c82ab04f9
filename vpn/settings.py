"""The only reader of the stack's configuration and of its own last outputs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from vpn import engines
from vpn.admission import admitted
from vpn.model.config import TEXT_KEYS, parse
from vpn.model.hosts import DSTACK
from vpn.model.problems import ConfigError
from vpn.model.topology import Topology

OWN = "the engine of this machine"
STORED = ("nodes", "workloads", "hosts", "guests", "postgres")
PROJECT = Path(__file__).resolve().parents[1]


async def load() -> tuple[Topology, Mapping[str, str]]:
    """Read the mesh that the stack's configuration declares, and what the nodes in confidential VMs proved.

    Raises pulumi.RunError, before any resource is declared, with every mistake of the configuration, or with every
    Docker engine that does not answer, or with every VM that is not let in.
    """
    own = pulumi.StackReference(f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}")
    before = {name: (await own.get_output_details(name)).value or {} for name in STORED}
    addresses = {name: entry["address"] for name, entry in (before["nodes"] | before["workloads"]).items()}
    engines_before = {host.get("docker"): name for name, host in before["hosts"].items() if host.get("kind") != DSTACK}
    try:
        topology = parse(_raw_config(), addresses, _can_build, engines_before, before["postgres"])
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from None
    await _ask_engines(topology)
    return await admitted(topology, before["guests"])


async def _ask_engines(topology: Topology) -> None:
    """With one engine of several missing, an `up` would change a part of the mesh and then fail."""
    complaints = await engines.silent(host for host in topology.engines if host.docker or len(topology.hosts) > 1)
    if complaints:
        hosts = [host for host in topology.hosts if host.name in complaints]
        heading = f"{len(hosts)} of {len(topology.engines)} Docker engines do not answer; nothing was touched"
        lines = [
            f"  host {one.name}: {one.docker or OWN}: {complaints[one.name]}\n    fix: {engines.fix(one)}"
            for one in hosts
        ]
        raise pulumi.RunError("\n".join([heading, *lines]))


def _can_build(folder: str) -> bool:
    return (PROJECT / folder / "Dockerfile").is_file()


def _raw_config() -> dict[str, Any]:
    """Every key of this project's namespace; the values of lists and numbers are JSON."""
    prefix = f"{pulumi.get_project()}:"
    named = {key.removeprefix(prefix): text for key, text in CONFIG.get().items() if key.startswith(prefix)}
    return {key: text if key in TEXT_KEYS else _value(text) for key, text in named.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
