"""Repairs what a killed `pulumi up` leaves behind in a file backend: its lock, and creations nobody saw the end of."""

import json
import os
import platform
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bootstrap import command
from bootstrap.console import say
from bootstrap.stack import Stack

LABEL = "dstack-vpn.mesh"  # as in vpn/components/leftovers.py
KINDS = ("container", "network", "volume")


def break_stale_locks(stack: Stack) -> None:
    """Remove the stack's lock if the process that held it on this machine is gone."""
    owners = [json.loads(path.read_text()) for path in _files(stack, "locks", f"{stack.name}/*.json")]
    if owners and all(is_dead(owner) for owner in owners):
        say(f"  an earlier run (process {owners[0]['pid']}) was killed and left its lock: pulumi cancel")
        stack.cancel()


def is_dead(owner: dict[str, Any]) -> bool:
    """Whether a lock's owner is a process of this machine that no longer runs."""
    return owner["hostname"] == platform.node() and not Path(f"/proc/{owner['pid']}").exists()


def clear_pending(stack: Stack) -> None:
    """Forget creations that a killed run began; what they left in Docker the program itself removes."""
    pending = [operation for path in _files(stack, "stacks", f"{stack.name}.json") for operation in pending_of(path)]
    for operation in pending:
        say(f"  an earlier run was killed in {operation['type']} {operation['resource']['urn'].rpartition('::')[2]}")
    if pending:
        stack.forget_pending_creates()


def sweep(mesh: str, stack: Stack) -> None:
    """Remove what still bears the mesh's identity after a destroy: a killed run made it and could not record it."""
    for kind in KINDS:
        find = ["docker", kind, "ls", "--quiet", "--filter", f"label={LABEL}={mesh}"]
        found = command.ask([*find, *(["--all"] if kind == "container" else [])], env=stack.env).answer.split()
        for leftover in found:
            say(f"  removing {kind} {leftover}, which an interrupted run left behind")
            command.ask(["docker", kind, "rm", "--force", leftover], env=stack.env)


def pending_of(checkpoint: Path) -> list[dict[str, Any]]:
    """The operations that a checkpoint records as begun and not ended."""
    latest = json.loads(checkpoint.read_text())["checkpoint"].get("latest") or {}
    return list(latest.get("pending_operations") or [])


def _files(stack: Stack, kind: str, pattern: str) -> list[Path]:
    url = urlsplit(stack.env.get("PULUMI_BACKEND_URL", ""))
    if url.scheme != "file" or os.name != "posix":
        return []
    folder = Path(unquote(url.path)).expanduser() / ".pulumi" / kind
    return [path for path in folder.rglob(pattern) if project_of(stack) in path.parts]


def project_of(stack: Stack) -> str:
    """Name of the Pulumi project."""
    return next(iter(_lines(stack.checkout / "Pulumi.yaml", "name:")), "")


def _lines(file: Path, field: str) -> list[str]:
    """Values of a top-level field of a YAML file; the standard library has no YAML."""
    return [line.removeprefix(field).strip() for line in file.read_text().splitlines() if line.startswith(field)]
