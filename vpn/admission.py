"""Asks the nodes in confidential VMs for evidence of what they are, and lets in those that are what their hosts say."""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi

from vpn.attestation import admit
from vpn.keepers import KeeperError, ask
from vpn.model.attestation import NONCE_BYTES, AdmissionPolicy, AttestationError, Evidence, Expected
from vpn.model.guest import Guest
from vpn.model.guest_compose import app_compose
from vpn.model.keys import PublicKey
from vpn.model.topology import Node, Topology

PROJECT = Path(__file__).resolve().parents[1]
FRESH = 300  # seconds; it is made when we ask, by the clock of the VM
PROVIDERS = {"local": "local-sgx"}  # what the guest measures, where that differs from the setting's name
UNKNOWN_FIX = "leave `app` out for the first `pulumi up`, deploy what it renders, and set it then"
SILENT_FIX = "start it, or correct gateway and app; until it is deployed leave `app` out"
REFUSED_FIX = "deploy the app-compose.json of this stack (`vpn dstack files`), or correct what the host says of it"


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What came of asking a node."""

    node: str
    key: PublicKey | None = None
    evidence: str = ""
    complaint: str = ""
    fix: str = ""


async def admitted(topology: Topology, before: Mapping[str, Mapping[str, Any]]) -> tuple[Topology, Mapping[str, str]]:
    """The mesh with those nodes in confidential VMs that are what their hosts say, and the evidence of each.

    `before` is what the last `up` told of them, by the node's name: what was rendered then may still run.
    Every plan asks anew, so that nothing said before counts. Raises pulumi.RunError naming every node that does not
    answer, or is not to be let in, and why.
    """
    deployed = [node for node in topology.guests if node.host.guest and node.host.guest.app]
    found = await asyncio.gather(*(asyncio.to_thread(_admission, topology, node, before) for node in deployed))
    _stop_if_refused(found)
    keys = {one.node: one.key for one in found if one.key}
    outside = frozenset(node.name for node in topology.guests) - keys.keys()
    return replace(topology, attested=keys, outside=outside), {one.node: one.evidence for one in found}


def _stop_if_refused(found: Iterable[Admission]) -> None:
    refused = [one for one in found if one.complaint]
    if refused:
        lines = [f"  node {one.node}: {one.complaint}\n    fix: {one.fix}" for one in refused]
        heading = f"{len(refused)} of the nodes in confidential VMs cannot be let in; nothing was touched"
        raise pulumi.RunError("\n".join([heading, *lines]))


def _admission(topology: Topology, node: Node, before: Mapping[str, Mapping[str, Any]]) -> Admission:
    guest, last = node.host.guest, before.get(node.name)
    if guest is None or last is None:
        return Admission(node=node.name, complaint="nothing was rendered for it yet", fix=UNKNOWN_FIX)
    try:
        hashes = frozenset({app_compose(topology, node, str(last["signer"])).compose_hash(), str(last["composeHash"])})
        fresh = _asked(topology, node, admission_policy(guest, hashes))
        return replace(fresh, evidence=_told(str(last.get("evidence") or ""), fresh.evidence))
    except (ValueError, OSError) as error:  # an AttestationError is a ValueError, and so is a file that is no text
        return Admission(node=node.name, complaint=str(error).replace("\n", "\n    "), fix=REFUSED_FIX)
    except KeeperError as error:
        return Admission(node=node.name, complaint=str(error), fix=SILENT_FIX)


def _told(before: str, now: str) -> str:
    """Evidence for the stack's outputs, which stays the same while it says the same of the same key."""
    try:
        return before if _statement(before) == _statement(now) else now
    except AttestationError:  # there was none, or it is of an older version
        return now


def _statement(line: str) -> tuple[object, ...]:
    evidence = Evidence.parse(line.encode())
    return replace(evidence.binding, issued=0), evidence.event_log


def _asked(topology: Topology, node: Node, policy: AdmissionPolicy) -> Admission:
    nonce = os.urandom(NONCE_BYTES)
    expected = Expected(network=topology.name, node=node.name, epoch=topology.epoch(node), nonce=nonce)
    path = f"/evidence?epoch={expected.epoch}&nonce={expected.nonce.hex()}"
    line = ask(topology.keeper(node), "GET", path)
    key = admit(Evidence.parse(line), policy, expected, int(time.time()))
    return Admission(node=node.name, key=key, evidence=line.decode().strip())


def admission_policy(guest: Guest, compose_hashes: frozenset[str]) -> AdmissionPolicy:
    """What a host says of its VM. Raises OSError for a file that cannot be read."""
    root = guest.insecure_root
    return AdmissionPolicy(
        images=frozenset(guest.measurements),
        compose_hashes=compose_hashes,
        app_id=str(guest.app),
        key_provider=PROVIDERS.get(guest.key_provider, guest.key_provider),
        key_provider_id=guest.key_provider_id,
        max_age=FRESH,
        collateral=(PROJECT / guest.collateral).read_text(),
        root=(PROJECT / root).read_bytes() if root else None,
        os_images=frozenset(guest.os_images) if guest.os_images is not None else None,
    )
