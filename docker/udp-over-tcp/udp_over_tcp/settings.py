"""What the relay is told: a file of JSON, delivered with its checksum."""

import json
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from udp_over_tcp.datagrams import Address

FILE = "settings.json"
CHECKSUMS = "SHA256SUMS"


class SettingsError(Exception):
    """There are no settings yet, or not those that were delivered."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """How a connection is wrapped before frames are sent."""

    name: str
    """Sent as SNI (RFC 6066, 3), and what the certificate must be for."""
    authorities: str = ""
    """Certificates that are trusted, as PEM; empty for the system's."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """From UDP to TCP, as Mullvad's udp2tcp: who sends datagrams here gets a TCP connection."""

    listen: Address
    forward: Address
    sources: tuple[IPv4Network, ...]
    """Who may send."""
    idle: float
    """Seconds without a byte from the other end after which the connection is made anew; 0 never."""
    peer: Address | None = None
    """Who sends here, when that is known: it hears from the other end also before it has spoken."""
    tls: Tls | None = None
    mutual: bool = False
    """Whether a connection that comes from there is one of this link, too."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """From TCP to UDP, as Mullvad's tcp2udp: every connection gets a UDP socket."""

    listen: Address
    forward: Address
    sources: tuple[IPv4Network, ...]
    """Who may connect."""
    idle: float
    """Seconds without a byte from the other end after which the connection is closed; 0 never."""
    connections: int
    connections_of_one: int
    """Most connections, and most from one address."""


@dataclass(frozen=True, kw_only=True)
class Echo:
    """Answers every short datagram with itself: who asks learns that UDP gets here and back."""

    listen: Address
    sources: tuple[IPv4Network, ...]
    """Who may ask."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A relay of somebody else where two that nobody reaches meet."""

    name: str
    forward: Address
    tls: Tls | None
    key: bytes = field(repr=False)
    """Proves there that one is of the pair."""


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """From UDP to TCP and on to who comes there as well: who sends datagrams here reaches the other of the pair."""

    listen: Address
    peer: Address
    """Who may send here; nobody else is heard."""
    side: int
    """Which of the pair this is, 0 or 1."""
    ways: tuple[Way, ...]
    """The preferred one first."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a pair may meet, at every listening TCP port."""

    key: bytes = field(repr=False)
    """Shared with the pair."""


Link = Outgoing | Incoming | Echo | Meeting | Place


def load(folder: Path) -> tuple[frozenset[Link], bytes]:
    """The links, and the checksums that name the generation. Raises SettingsError."""
    try:
        text, sums = (folder / FILE).read_bytes(), (folder / CHECKSUMS).read_bytes()
        if sums != f"{sha256(text).hexdigest()}  {FILE}\n".encode():
            raise SettingsError("the settings do not match their SHA256SUMS")
        return parse(json.loads(text)), sums
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"no settings: {error!r}") from None


def parse(raw: dict[str, Any]) -> frozenset[Link]:
    """The links of a file's content. Raises ValueError, KeyError or TypeError."""
    kinds = (
        ("outgoing", _outgoing),
        ("incoming", _incoming),
        ("echo", _echo),
        ("meetings", _meeting),
        ("places", _place),
    )
    return frozenset(read(one) for kind, read in kinds for one in raw[kind])


def _echo(one: dict[str, Any]) -> Link:
    return Echo(listen=_address(one["listen"]), sources=_sources(one))


def _outgoing(one: dict[str, Any]) -> Link:
    peer, tls = one["peer"], one["tls"]
    mutual = bool(one["mutual"])
    return Outgoing(
        **_common(one), peer=_address(peer) if peer else None, tls=Tls(**tls) if tls else None, mutual=mutual
    )


def _meeting(one: dict[str, Any]) -> Link:
    ways = tuple(_way(way) for way in one["ways"])
    listen, peer = _address(one["listen"]), _address(one["peer"])
    return Meeting(listen=listen, peer=peer, side=int(one["side"]), ways=ways)


def _way(one: dict[str, Any]) -> Way:
    tls = Tls(**one["tls"]) if one["tls"] else None
    return Way(name=str(one["name"]), forward=_address(one["forward"]), tls=tls, key=b64decode(one["key"]))


def _place(one: dict[str, Any]) -> Link:
    return Place(key=b64decode(one["key"]))


def _incoming(one: dict[str, Any]) -> Link:
    most, most_of_one = int(one["connections"]), int(one["connectionsOfOne"])
    return Incoming(**_common(one), connections=most, connections_of_one=most_of_one)


def _common(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "listen": _address(one["listen"]),
        "forward": _address(one["forward"]),
        "sources": _sources(one),
        "idle": float(one["idle"]),
    }


def _sources(one: dict[str, Any]) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(source) for source in one["sources"])


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)
