"""What a node hands over to be let in; the same format as the verifier's (vpn/model/attestation.py)."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What the node signs: whose key this is, and when it said so."""

    network: str
    node: str
    public_key: str
    """Base64."""
    epoch: int
    """Generation of the node's key."""
    issued: int
    """Seconds since 1970."""

    def json(self) -> bytes:
        """The one form that is signed: sorted keys, no space, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


def report_data(binding: Binding, nonce: bytes) -> bytes:
    """The 64 bytes to ask a quote for: a SHA-256, and zeros."""
    return sha256(binding.json() + nonce).digest() + bytes(32)


def evidence(binding: Binding, nonce: bytes, quote: str, event_log: str) -> str:
    """One line of JSON."""
    fields = {**asdict(binding), "nonce": nonce.hex(), "quote": quote, "event_log": event_log}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))
