"""Who may be in: a pure function of the passes at two blocks and of the settings."""

from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from access_gate.rpc import Pass
from access_gate.settings import Settings

FIELD_PRIME = 2**255 - 19  # RFC 7748, 4.1
# u-coordinates of points of small order (RFC 7748, 6.1): a tunnel with one of these as key is open to anybody.
SMALL_ORDER = {
    0,
    1,
    FIELD_PRIME - 1,
    0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
}
TWICE = "another pass has the same key or number"


@dataclass(frozen=True, order=True)
class Member:
    """A holder of a pass who is let in."""

    token: int
    key: str
    """Base64, as wg(8) has it."""
    address: str
    owner: str


@dataclass(frozen=True)
class Verdict:
    """Everybody who holds a pass with a key: who is let in, and who is refused, and why; by token."""

    members: Mapping[int, Member]
    refused: Mapping[int, str]


def judge(head: Iterable[Pass], final: Iterable[Pass], settings: Settings) -> Verdict:
    """Let in whose pass is good at the newest block and was the same at the final one."""
    good = {one for one in final if not one.suspended}
    bound = [one for one in head if any(one.key)]
    refused = _refusals(bound, settings)
    admitted = (one for one in bound if one.token not in refused and not one.suspended and one in good)
    return Verdict({one.token: _member(one, settings.member_range) for one in admitted}, refused)


def _refusals(bound: Collection[Pass], settings: Settings) -> dict[int, str]:
    keys, tokens = Counter(one.key for one in bound), Counter(one.token for one in bound)
    twice = {one for one in bound if keys[one.key] > 1 or tokens[one.token] > 1}
    reasons = {one.token: TWICE if one in twice else _refusal(one, settings) for one in bound}
    return {token: reason for token, reason in reasons.items() if reason}


def _refusal(one: Pass, settings: Settings) -> str:
    """Why a pass lets nobody in, whoever holds it; empty if it does."""
    if not 1 <= one.token <= settings.member_range.num_addresses - 2:
        return f"{settings.member_range} has no address for this token"
    if base64(one.key) in settings.nodes.values():
        return "the key is a node's"
    number = int.from_bytes(one.key, "little")  # RFC 7748, 5
    if number >= FIELD_PRIME or number in SMALL_ORDER:
        return "the key is no X25519 public key"
    return ""


def _member(one: Pass, members: IPv4Network) -> Member:
    return Member(one.token, base64(one.key), str(members.network_address + one.token), one.owner)


def base64(key: bytes) -> str:
    """A key as wg(8) writes it."""
    return b64encode(key).decode()


def why_gone(member: Member, head: Mapping[int, Pass]) -> str:
    """Why somebody who was in is no more, as the passes at the newest block tell."""
    now = head.get(member.token)
    if now is None:
        return "burned"
    if now.owner != member.owner:
        return "transferred"
    if now.suspended:
        return "suspended"
    if not any(now.key):
        return "key cleared"
    if base64(now.key) != member.key:
        return "another key"
    return "another address"
