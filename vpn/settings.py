"""The only reader of the stack's configuration and of its own last outputs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from vpn.model.config import TEXT_KEYS, parse
from vpn.model.problems import ConfigError, Problem
from vpn.model.topology import Topology, Workload

PROJECT = Path(__file__).resolve().parents[1]
NO_DOCKERFILE = "is no folder with a Dockerfile"
NO_DOCKERFILE_FIX = "name one that has it, relative to the project"


async def load() -> Topology:
    """Read the mesh that the stack's configuration declares.

    Raises pulumi.RunError with every mistake of the configuration, before any resource is declared.
    """
    try:
        topology = parse(_raw_config(), await _previous_addresses())
        check_folders(topology.workloads)
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from None
    return topology


def check_folders(workloads: Sequence[Workload]) -> None:
    """Raise ConfigError when a folder to build has no Dockerfile."""
    problems = [
        Problem(path=f"workloads[{index}].build", value=workload.build, reason=NO_DOCKERFILE, fix=NO_DOCKERFILE_FIX)
        for index, workload in enumerate(workloads)
        if workload.build is not None and not (PROJECT / workload.build / "Dockerfile").is_file()
    ]
    if problems:
        raise ConfigError(problems)


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
