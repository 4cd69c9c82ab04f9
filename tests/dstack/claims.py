"""A node of the simulator that asks to be let in, and a verifier that knows what it wants."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dstack_node.evidence import Binding, evidence, report_data
from dstack_simulator import events
from dstack_simulator.collateral import collateral
from dstack_simulator.guest import MRTD, Guest

from tests.simulator.guests import APP_ID, AUTHORITY, COMPOSE, guest
from vpn.attestation import admit
from vpn.model.attestation import AdmissionPolicy, AttestationError, Evidence, Expected, Image, Reason
from vpn.model.keys import PrivateKey, PublicKey

NOW = 1_800_000_000
NONCE, OLD_NONCE = bytes([1]) * 32, bytes([2]) * 32
KEY = PrivateKey(bytes([7]) * 32).public()
OTHER_KEY = PrivateKey(bytes([8]) * 32).public()
BINDING = Binding(network="vpn", node="node-a", public_key=KEY.base64(), epoch=1, issued=NOW - 5)
REGISTERS = events.registers(guest().log)
IMAGE = Image(mrtd=MRTD.hex(), rtmr0=REGISTERS[0].hex(), rtmr1=REGISTERS[1].hex(), rtmr2=REGISTERS[2].hex())
POLICY = AdmissionPolicy(
    images=frozenset({IMAGE}),
    compose_hashes=frozenset({COMPOSE.compose_hash()}),
    app_id=APP_ID.hex(),
    key_provider="kms",
    key_provider_id=guest().provider_id.hex(),
    max_age=300,
    collateral=collateral(AUTHORITY),
    root=AUTHORITY.root_der,
)
EXPECTED = Expected(network="vpn", node="node-a", epoch=1, nonce=NONCE)


@dataclass(kw_only=True)
class Claim:
    """What happens when a node asks; every part of it can be changed."""

    guest: Guest = field(default_factory=guest)
    binding: Binding = BINDING
    nonce: bytes = NONCE
    policy: AdmissionPolicy = POLICY
    expected: Expected = EXPECTED
    now: int = NOW
    forge: dict[str, Any] = field(default_factory=dict)
    """Fields of the evidence that are changed after the quote was made."""
    forge_log: Callable[[list[dict[str, Any]]], object] = list
    """What is done to the event log after the quote was made."""

    def evidence(self) -> dict[str, Any]:
        """What the node hands over."""
        wanted = {"report_data": report_data(self.binding, self.nonce).hex()}
        answer = self.guest.methods()["GetQuote"](wanted)
        log = json.loads(answer["event_log"])
        self.forge_log(log)
        line = evidence(self.binding, self.nonce, answer["quote"], json.dumps(log))
        return dict(json.loads(line)) | self.forge

    def key(self) -> PublicKey:
        """The key that is let in. Raises AttestationError."""
        handed_over = Evidence.parse(json.dumps(self.evidence()).encode())
        return admit(handed_over, self.policy, self.expected, self.now)

    def refused(self) -> set[Reason]:
        """Why nobody is let in; empty if somebody is."""
        try:
            self.key()
        except AttestationError as error:
            return error.reasons
        return set()


def policy(**more: Any) -> AdmissionPolicy:
    """The policy, but for some of it."""
    return replace(POLICY, **more)


def expected(**more: Any) -> Expected:
    """What is expected, but for some of it."""
    return replace(EXPECTED, **more)


def bound(**more: Any) -> Binding:
    """What the node signs, but for some of it."""
    return replace(BINDING, **more)
