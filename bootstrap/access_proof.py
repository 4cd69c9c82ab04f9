"""The proof that access follows the pass: its holder is in, and out on every node once it is given away."""

import json
import shlex
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from bootstrap import command, proof
from bootstrap.device import Device
from bootstrap.failure import BootstrapError
from bootstrap.paths import CHECKOUT, VENV

HOLDER, NEXT_HOLDER = "1", "2"  # accounts of the embedded chain
WAIT_SECONDS = 15
FIX = "`docker logs` of the gate's container tells whom it let in and put out, and why"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The stack as a user sees it."""

    outputs: Mapping[str, Any] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)

    def vpn(self, *arguments: str) -> str:
        """Run a `vpn` command, show it, and return what it printed.

        It gets the stack's outputs from here, which spares it the time to ask Pulumi.
        """
        print(f"  $ {shlex.join(['bin/vpn', *arguments])}")
        ask = [str(VENV / "bin" / "python"), "-m", "vpn.cli", *arguments, "--mesh", "-"]
        return self._ask(ask, json.dumps(self.outputs))

    def _ask(self, ask: list[str], stdin: str = "") -> str:
        result = command.ask(ask, env=self.env, cwd=CHECKOUT, stdin=stdin)
        if not result.ok:
            raise BootstrapError(f"exit status {result.status}", fix=FIX, command=ask, log=result.output)
        return result.answer

    def await_members(self, address: str, *, inside: bool) -> float:
        """Wait until every node has a member at an address, or none has; return how long that took, in seconds."""
        started = time.monotonic()
        nodes = [node["container"] for node in self.outputs["nodes"].values() if node["members"]]
        while any(self._has(node, address) != inside for node in nodes):
            if time.monotonic() - started > WAIT_SECONDS:
                change = "admitted" if inside else "put out"
                raise BootstrapError(f"{address} was not {change} by every node within {WAIT_SECONDS} s", fix=FIX)
            time.sleep(0.1)
        return time.monotonic() - started

    def _has(self, node: str, address: str) -> bool:
        peers = self._ask(["docker", "exec", node, "wg", "show", "wg0", "allowed-ips"])
        return f"{address}/32" in peers.split()


def show(outputs: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """Prove it with commands that the user can repeat. Raises BootstrapError naming what failed."""
    access, claim = outputs.get("access"), proof.read(outputs)
    if not access or claim is None:
        return
    if access["rpcUrl"] is None:
        print("\nNo proof of access: that would mint a pass on a real chain.")
        return
    with closing(_device(claim, outputs, env)) as device:
        _story(Gate(outputs=outputs, env=env), device, f"http://{outputs['workloads'][proof.SERVER]['address']}")


def clean_up(outputs: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """Remove what a killed proof left behind: no network can be removed while it is there."""
    claim = proof.read(outputs) if "nodes" in outputs else None
    if claim:
        _device(claim, outputs, env).close()


def _device(claim: proof.Claim, outputs: Mapping[str, Any], env: Mapping[str, str]) -> Device:
    name = f"{claim.first}-guest"
    return Device(name=name, mesh=outputs["mesh"], node=claim.first, browser=proof.CLIENT, env=env)


def _story(gate: Gate, device: Device, url: str) -> None:
    """Mint, join, read the page, give the pass away, read nothing, burn."""
    print("\nAccess follows the pass")
    minted = json.loads(gate.vpn("pass", "mint", HOLDER, "--json"))
    token, address = str(minted["token"]), str(minted["address"])
    config = gate.vpn("client", "config", token, "--account", HOLDER)
    admitted = gate.await_members(address, inside=True)
    print(f"    every node let {address} in, after {admitted:.1f} s")
    device.start()
    device.join(config)
    _check_page(device, url, comes=True)
    gate.vpn("pass", "transfer", token, NEXT_HOLDER, "--account", HOLDER)
    revoked = gate.await_members(address, inside=False)
    print(f"    every node put {address} out, after {revoked:.1f} s")
    _check_page(device, url, comes=False)
    gate.vpn("pass", "burn", token, "--account", NEXT_HOLDER)
    print(f"\n✓ Who held pass {token} read the page through the VPN, and nothing any more after giving it away.")


def _check_page(device: Device, url: str, *, comes: bool) -> None:
    page = device.page(url)
    print(f"  $ wget -qO- {url}    # on a device outside the mesh")
    print("\n".join(f"    {line}" for line in page.splitlines()) if page else "    (no answer)")
    if (page is not None) != comes:
        raise BootstrapError(f"{url} {'did not answer' if comes else 'still answers'}", fix=FIX)
