"""The only reader of the stack's configuration and of its own last outputs."""

import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from vpn import engines
from vpn.model.config import TEXT_KEYS, parse
from vpn.model.problems import ConfigError
from vpn.model.topology import Topology

PROJECT = Path(__file__).resolve().parents[1]


async def load() -> Topology:
    """Read the mesh that the stack's configuration declares.

    Raises pulumi.RunError, before any resource is declared, with every mistake of the configuration, or with every
    Docker engine that does not answer.
    """
    try:
        topology = parse(_raw_config(), await _previous_addresses(), _can_build)
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from None
    await _ask_engines(topology)
    return topology


async def _ask_engines(topology: Topology) -> None:
    """With one engine of several missing, an `up` would change a part of the mesh and then fail."""
    complaints = await engines.silent(host for host in topology.hosts if host.docker)
    if complaints:
        hosts = [host for host in topology.hosts if host.name in complaints]
        heading = f"{len(hosts)} of {len(topology.hosts)} Docker engines do not answer; nothing was touched"
        lines = [
            f"  host {one.name}: {one.docker}: {complaints[one.name]}\n    fix: {engines.fix(one)}" for one in hosts
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


async def _previous_addresses() -> dict[str, str]:
    """Where nodes and workloads were after the last `up`, by name, as the stack's own outputs tell."""
    own = pulumi.StackReference(f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}")
    details = [await own.get_output_details(name) for name in ("nodes", "workloads")]
    entries: dict[str, Any] = {}
    for detail in details:
        entries |= detail.value or {}
    return {name: entry["address"] for name, entry in entries.items()}
