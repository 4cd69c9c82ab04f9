"""The work of the sidecar: key, quote, files."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dstack_node.agent import Agent
from dstack_node.evidence import Binding, evidence, report_data
from dstack_node.keys import private_key, wg_pubkey

KEY_FILE, EVIDENCE_FILE = "private-key", "evidence.json"
SECRET, READABLE = 0o600, 0o644


@dataclass(frozen=True, kw_only=True)
class Node:
    """Which node of which network this is, and whom it answers."""

    network: str
    node: str
    epoch: int
    """Generation of the key."""
    nonce: bytes
    """What the verifier asks with."""


def attest(node: Node, agent: Agent, folder: Path, public_key: Callable[[str], str] = wg_pubkey) -> str:
    """Leave the key and the evidence in a folder; returns the evidence, one line of JSON without a secret.

    Raises AgentError, KeyToolError, and OSError when a file cannot be written.
    """
    private = private_key(agent.key(f"{node.network}/{node.node}/{agent.instance_id()}/{node.epoch}"))
    binding = Binding(
        network=node.network,
        node=node.node,
        public_key=public_key(private),
        epoch=node.epoch,
        issued=int(time.time()),
    )
    line = evidence(binding, node.nonce, *agent.quote(report_data(binding, node.nonce)))
    replace(folder / KEY_FILE, f"{private}\n", SECRET)
    replace(folder / EVIDENCE_FILE, f"{line}\n", READABLE)
    return line


def replace(path: Path, content: str, mode: int) -> None:
    """In one step, and never with more rights than its own, so that nobody reads half a file, or a secret."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:  # noqa: PTH123 (of a descriptor)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
