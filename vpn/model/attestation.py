"""What a node in a DStack guest says about itself, and what has to be true for its key to be let in.

The node puts its WireGuard key into the report data of a TDX quote. Here is all of the judgement that needs no
cryptography of Intel's; `vpn.attestation` adds the signatures of the quote.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Self

from vpn.model import event_log
from vpn.model.event_log import HEX, Boot, EventLogError
from vpn.model.keys import PublicKey
from vpn.model.untrusted import read_json, shown

MOST_BYTES = 1 << 20  # of evidence; a quote has 5 kB, an event log 20
MOST_NUMBER = 1 << 53  # that every reader of JSON takes for what it is (RFC 8259, 6)
SKEW = 60  # seconds that a node's clock may be ahead
NONCE_BYTES = 32
FIELDS = {
    "network": str,
    "node": str,
    "public_key": str,
    "epoch": int,
    "issued": int,
    "nonce": str,
    "quote": str,
    "event_log": str,
}


class Reason(StrEnum):
    """Why evidence is refused."""

    MALFORMED = "malformed evidence"
    SIGNATURE = "signature chain"
    COLLATERAL = "expired or unreadable collateral"
    TCB = "TCB status"
    DEBUG = "debug mode"
    BINDING = "wrong binding"
    REPLAY = "replay"
    AGE = "evidence too old"
    EVENT_LOG = "event log"
    DUPLICATE = "duplicate or late event"
    COMPOSE_HASH = "wrong compose hash"
    APP = "wrong app"
    KEY_PROVIDER = "wrong key provider"
    IMAGE = "wrong image"


@dataclass(frozen=True)
class Refusal:
    """One reason, with what was found."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {shown(self.detail)}"


class AttestationError(ValueError):
    """Every reason for which the evidence of one node is refused."""

    def __init__(self, refusals: Iterable[Refusal]) -> None:
        self.refusals = tuple(refusals)
        lines = [f"  {refusal}" for refusal in self.refusals]
        super().__init__("\n".join(["the node is not let in by this evidence", *lines]))

    @property
    def reasons(self) -> set[Reason]:
        """The reasons without what was found."""
        return {refusal.reason for refusal in self.refusals}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What a node signs: whose key this is, and when it said so."""

    network: str
    node: str
    public_key: PublicKey
    epoch: int
    """Generation of the node's key."""
    issued: int
    """Seconds since 1970, by the clock of the guest."""

    def json(self) -> bytes:
        """The one form that is signed: sorted keys, no space, ASCII."""
        fields = {
            "network": self.network,
            "node": self.node,
            "public_key": self.public_key.base64(),
            "epoch": self.epoch,
            "issued": self.issued,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def report_data(binding: Binding, nonce: bytes) -> bytes:
    """The 64 bytes of a quote that are the guest's to choose: a SHA-256, and zeros."""
    return sha256(binding.json() + nonce).digest() + bytes(32)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a node hands over; nothing in it is secret, or to be believed before it is judged."""

    binding: Binding
    nonce: bytes
    quote: bytes = field(repr=False)
    event_log: str = field(repr=False)
    """JSON, as the guest agent gave it."""

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read the JSON that a node wrote. Raises AttestationError for anything else, and for more than 1 MiB."""
        try:
            return cls._of(_fields(text))
        except ValueError as error:
            raise AttestationError([Refusal(Reason.MALFORMED, str(error)[:300])]) from None

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Self:
        key = PublicKey.parse(raw["public_key"])
        named = {name: raw[name] for name in ("network", "node", "epoch", "issued")}
        return cls(
            binding=Binding(public_key=key, **named),
            nonce=_bytes(raw, "nonce"),
            quote=_bytes(raw, "quote"),
            event_log=raw["event_log"],
        )


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Who was asked for evidence, and with which nonce."""

    network: str
    node: str
    epoch: int
    nonce: bytes
    """32 random bytes, used for no other question: what was said before the question does not answer it."""

    def __post_init__(self) -> None:
        if len(self.nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(self.nonce)}")


@dataclass(frozen=True, kw_only=True)
class Image:
    """An operating system on a machine of one size (DStack, dstack-mr); lower-case hexadecimal."""

    mrtd: str
    """The firmware."""
    rtmr0: str
    """The virtual hardware: another number of processors gives another value."""
    rtmr1: str
    """The kernel."""
    rtmr2: str
    """The kernel's command line, which names the root file system."""


@dataclass(frozen=True, kw_only=True)
class AdmissionPolicy:
    """Which guests are let in. Measurements and identifiers in lower-case hexadecimal."""

    images: frozenset[Image] | None
    """Operating systems that are let in. None lets in any, and proves nothing: for tests only.

    RTMR3 holds what the operating system chose to measure. One of the host's own can measure another's compose hash,
    app and key provider.
    """

    compose_hashes: frozenset[str]
    """Of `AppCompose.compose_hash`; more than one while a new version is rolled out."""
    app_id: str
    key_provider: str
    """none, kms, local-sgx or tpm."""
    key_provider_id: str
    """DER of the public key of the key provider's CA."""
    max_age: int
    """Seconds for which evidence is good."""
    collateral: str = field(repr=False)
    """JSON of Intel's statements on the platform (PCCS), good for about 30 days."""
    root: bytes | None = None
    """DER of a root certificate in place of Intel's: only for tests, since whoever has its key is let in."""
    os_images: frozenset[str] | None = None
    """Hashes of operating-system images, as the system itself tells them. None: any of `images`."""


@dataclass(frozen=True, kw_only=True)
class TdReport:
    """What a quote says about the guest (Intel TDX DCAP quoting library API, A.3.2)."""

    image: Image
    rtmr3: bytes
    report_data: bytes
    debug: bool
    """Whether the host can read the guest's memory."""


def judge(
    evidence: Evidence, report: TdReport, policy: AdmissionPolicy, expected: Expected, now: float
) -> Iterator[Refusal]:
    """Every reason against a node, but for the signatures. `now`: seconds since 1970."""
    if report.debug:
        yield Refusal(Reason.DEBUG, "the host can read the guest's memory")
    if policy.images is not None and report.image not in policy.images:
        yield Refusal(Reason.IMAGE, f"it is {report.image}")
    yield from _judge_binding(evidence, report, expected)
    yield from _judge_freshness(evidence, policy, expected, now)
    yield from _judge_log(evidence.event_log, report, policy)


def _judge_binding(evidence: Evidence, report: TdReport, expected: Expected) -> Iterator[Refusal]:
    binding = evidence.binding
    if (binding.network, binding.node) != (expected.network, expected.node):
        yield Refusal(Reason.BINDING, f"it is of node {binding.node!r:.80} of network {binding.network!r:.80}")
    if report.report_data != report_data(binding, evidence.nonce):
        yield Refusal(Reason.BINDING, "the quote was made for another network, node, key, epoch, time or nonce")


def _judge_freshness(evidence: Evidence, policy: AdmissionPolicy, expected: Expected, now: float) -> Iterator[Refusal]:
    if evidence.nonce != expected.nonce:
        yield Refusal(Reason.REPLAY, "it answers another nonce")
    if evidence.binding.epoch != expected.epoch:
        yield Refusal(Reason.REPLAY, f"it is of epoch {evidence.binding.epoch}, not {expected.epoch}")
    age = now - evidence.binding.issued
    if not -SKEW <= age <= policy.max_age:
        yield Refusal(Reason.AGE, f"it was made {age:.0f} s ago, and is good for {policy.max_age} s")


def _judge_log(text: str, report: TdReport, policy: AdmissionPolicy) -> Iterator[Refusal]:
    try:
        events = event_log.parse(text)
    except EventLogError as error:
        yield Refusal(Reason.EVENT_LOG, f"it {error}")
        return
    if event_log.replay(events) != report.rtmr3:
        yield Refusal(Reason.EVENT_LOG, "its replay does not give the quote's RTMR3")
    boot = event_log.boot(events)
    yield from _judge_order(boot)
    yield from _judge_measurements(boot, policy)


def _judge_order(boot: Boot) -> Iterator[Refusal]:
    if not boot.ready:
        yield Refusal(Reason.EVENT_LOG, f"there is no {event_log.READY}: the guest has not booted")
    for name in boot.duplicates():
        yield Refusal(Reason.DUPLICATE, f"{name} was measured twice")
    for name in boot.late():
        yield Refusal(Reason.DUPLICATE, f"{name} was measured after {event_log.READY}")


def _judge_measurements(boot: Boot, policy: AdmissionPolicy) -> Iterator[Refusal]:
    wanted = [
        (Reason.COMPOSE_HASH, "compose-hash", policy.compose_hashes),
        (Reason.APP, "app-id", {policy.app_id}),
        (Reason.IMAGE, "os-image-hash", policy.os_images),
    ]
    payloads = boot.payloads()
    for reason, name, allowed in wanted:
        found = payloads[name].hex() if name in payloads else "none"
        if allowed is not None and found not in allowed:
            yield Refusal(reason, f"{name} is {found:.200}")
    provider = payloads.get("key-provider", b"")
    if _provider(provider) != {"name": policy.key_provider, "id": policy.key_provider_id}:
        yield Refusal(Reason.KEY_PROVIDER, f"key-provider is {provider.decode(errors='replace')!r:.300}")


def _provider(payload: bytes) -> Any:
    try:
        return read_json(payload.decode())
    except ValueError:
        return None


def _fields(text: bytes) -> dict[str, Any]:
    if len(text) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes")
    raw = read_json(text.decode())
    if not isinstance(raw, dict):
        raise ValueError("it is no object")  # noqa: TRY004 (a ValueError is what the caller catches)
    if wrong := sorted(raw.keys() ^ FIELDS.keys()):
        raise ValueError(f"these fields are missing, or not known: {', '.join(wrong)}")
    if wrong := [name for name, kind in FIELDS.items() if type(raw[name]) is not kind]:
        raise ValueError(f"these fields are of the wrong type: {', '.join(wrong)}")
    if wrong := [name for name in ("epoch", "issued") if not 0 <= raw[name] < MOST_NUMBER]:
        raise ValueError(f"these numbers are out of range: {', '.join(wrong)}")
    return raw


def _bytes(raw: dict[str, Any], name: str) -> bytes:
    if not HEX.fullmatch(raw[name]):
        raise ValueError(f"{name} is not lower-case hexadecimal")
    return bytes.fromhex(raw[name])
