"""The proof: a web page crosses the tunnel, and WireGuard's counters say so."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap import command
from bootstrap.failure import BootstrapError

HANDSHAKE_SECONDS = 20
SHOWN_LINES = 4
CLIENT = "test-client"
SERVER = "nginx-server"
FIX = "docker ps, docker logs of the node's container, and `wg show` in it tell more"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is to be proved: the client behind one node reaches the page behind the other through their tunnel."""

    first: str
    """Container of the server's node."""
    second: str
    """Container of the client's node."""
    second_address: str


def show(outputs: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """Prove it with commands that the user can repeat. Raises BootstrapError naming what failed."""
    claim = read(outputs)
    if claim is None:
        print(f"\nNo proof: this stack has no {SERVER} and {CLIENT} at two nodes.")
        return
    _await_tunnel(claim, env)
    print("\nProof")
    _shown(["exec", claim.first, "cat", "/run/wireguard/dataplane"], env)
    _shown(["exec", claim.first, "ping", "-c", "3", claim.second_address], env)
    before = [_transfer(node, env) for node in (claim.first, claim.second)]
    page = _shown(["exec", CLIENT, "wget", "-qO-", f"http://{SERVER}:80"], env)
    after = [_transfer(node, env) for node in (claim.first, claim.second)]
    print(verdict(len(page.encode()), [new - old for old, new in zip(before, after, strict=True)], claim))


def read(outputs: Mapping[str, Any]) -> Claim | None:
    """Find client and server and their nodes in the stack's outputs; None if no tunnel is between them."""
    nodes, workloads = outputs["nodes"], outputs["workloads"]
    if not {CLIENT, SERVER} <= workloads.keys() or workloads[CLIENT]["node"] == workloads[SERVER]["node"]:
        return None
    first, second = (nodes[workloads[name]["node"]] for name in (SERVER, CLIENT))
    return Claim(first=first["container"], second=second["container"], second_address=second["address"])


def verdict(page: int, rises: Sequence[int], claim: Claim) -> str:
    """Say that `page` bytes crossed the tunnel; raises BootstrapError if a node's counters did not rise by as much."""
    if page == 0 or min(rises) < page:
        reason = f"the page has {page} bytes, but the tunnel's counters rose by {' and '.join(map(str, rises))} bytes"
        raise BootstrapError(reason, fix=FIX)
    path = f"{CLIENT} -> {claim.second} -> {claim.first}"
    return f"\n✓ The page ({page} bytes) crossed the tunnel: {path}; wg0 carried {' and '.join(map(str, rises))} bytes."


def transferred(text: str) -> int:
    """Sum of all bytes in the output of `wg show <interface> transfer` (wg(8): key, received, sent)."""
    return sum(int(number) for line in text.splitlines() for number in line.split()[1:])


def _await_tunnel(claim: Claim, env: Mapping[str, str]) -> None:
    """Ping until an answer comes: the first packet starts the handshake."""
    ping = ["docker", "exec", claim.first, "ping", "-c", "1", "-W", "1", claim.second_address]
    deadline = time.monotonic() + HANDSHAKE_SECONDS
    while not (result := command.ask(ping, env=env)).ok:
        if time.monotonic() > deadline:
            reason = f"no answer through the tunnel within {HANDSHAKE_SECONDS} s"
            raise BootstrapError(reason, fix=FIX, command=ping, log=result.output)
        time.sleep(0.2)


def _transfer(node: str, env: Mapping[str, str]) -> int:
    return transferred(_shown(["exec", node, "wg", "show", "wg0", "transfer"], env))


def _shown(arguments: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a docker command, print it with the first lines of what it printed, and return all of that."""
    ask = ["docker", *arguments]
    print(f"  $ {shlex.join(ask)}")
    result = command.ask(ask, env=env)
    if not result.ok:
        raise BootstrapError(f"exit status {result.status}", fix=FIX, command=ask, log=result.output)
    lines = result.answer.splitlines()
    print("\n".join(f"    {line}" for line in lines[:SHOWN_LINES]), *["    ..."] * (len(lines) > SHOWN_LINES), sep="\n")
    return result.answer
