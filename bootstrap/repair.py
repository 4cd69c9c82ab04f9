"""Repairs what a killed `pulumi up` leaves behind in a file backend: its lock, and creations nobody saw the end of."""

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bootstrap import command
from bootstrap.console import say

if TYPE_CHECKING:
    from bootstrap.stack import Stack

# The commands that find and remove by name what a creation may have left, by resource type.
LEFTOVERS = {
    "docker:index/container:Container": ("container", "rm", "--force"),
    "docker:index/network:Network": ("network", "rm"),
}


def break_stale_locks(stack: "Stack") -> None:
    """Remove the stack's lock if the process that held it on this machine is gone."""
    owners = [json.loads(path.read_text()) for path in _files(stack, "locks", f"{stack.name}/*.json")]
    if owners and all(is_dead(owner) for owner in owners):
        say(f"  an earlier run (process {owners[0]['pid']}) was killed and left its lock: pulumi cancel")
        stack.cancel()


def is_dead(owner: dict[str, Any]) -> bool:
    """Whether a lock's owner is a process of this machine that no longer runs."""
    return owner["hostname"] == platform.node() and not Path(f"/proc/{owner['pid']}").exists()


def clear_pending(stack: "Stack") -> None:
    """Remove what interrupted creations left in Docker, and their records, so that they can be done again."""
    pending = [operation for path in _files(stack, "stacks", f"{stack.name}.json") for operation in pending_of(path)]
    if not pending:
        return
    for operation in pending:
        say(f"  an earlier run was killed in {operation['type']} {operation['resource']['urn'].rpartition('::')[2]}")
        if operation["type"] == "creating":
            _remove_leftover(operation["resource"], stack)
    stack.forget_pending_creates()


def pending_of(checkpoint: Path) -> list[dict[str, Any]]:
    """The operations that a checkpoint records as begun and not ended."""
    latest = json.loads(checkpoint.read_text())["checkpoint"].get("latest") or {}
    return list(latest.get("pending_operations") or [])


def _remove_leftover(resource: dict[str, Any], stack: "Stack") -> None:
    name = resource.get("inputs", {}).get("name")
    remove = LEFTOVERS.get(resource["type"])
    if remove and isinstance(name, str) and _is_ours(resource, name, stack):
        say(f"  removing {remove[0]} {name}, whose creation was interrupted")
        command.ask(["docker", *remove, name], env=stack.env)


def _is_ours(resource: dict[str, Any], name: str, stack: "Stack") -> bool:
    """A container of the same name that somebody else made has another image; a network in use is not removed."""
    if not resource["type"].endswith(":Container"):
        return True
    inspect = ["docker", "container", "inspect", "--format", "{{.Image}}", name]
    return command.ask(inspect, env=stack.env).answer.strip() == str(resource["inputs"].get("image"))


def _files(stack: "Stack", kind: str, pattern: str) -> list[Path]:
    url = urlsplit(stack.env.get("PULUMI_BACKEND_URL", ""))
    if url.scheme != "file" or os.name != "posix":
        return []
    folder = Path(unquote(url.path)).expanduser() / ".pulumi" / kind
    project = next(iter(_lines(stack.checkout / "Pulumi.yaml", "name:")), "")
    return [path for path in folder.rglob(pattern) if project in path.parts]


def _lines(file: Path, field: str) -> list[str]:
    """Values of a top-level field of a YAML file; the standard library has no YAML."""
    return [line.removeprefix(field).strip() for line in file.read_text().splitlines() if line.startswith(field)]
