"""How encrypted packets travel between two nodes: as UDP, over TCP by a relay beside each of them, or as it works."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpn.model.reader import Reader

UDP, TCP, AUTO = "udp", "tcp", "auto"
TRANSPORTS = (UDP, TCP, AUTO)
LINK_KEYS = ("between", "transport", "mtu")
TCP_MTU = 1376  # bytes; a datagram then fits one TCP segment of a path with an MTU of 1500 (Mullvad's own figure)
MIN_MTU = 576  # bytes every IPv4 host takes (RFC 791, 3.1)
ECHO_PORT = 1024  # UDP port where a relay answers
FIRST_PORT = ECHO_PORT  # plus the peer's number, from 1: the UDP port at a node's relay that leads to the peer

Pair = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class RelayedLink:
    """Two nodes that speak over TCP, or can."""

    between: Pair
    auto: bool = False
    """Over TCP only while UDP does not get through."""
    mtu: int
    """MTU of the tunnel between them in bytes."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the configuration says of a pair, or of every pair."""

    transport: str
    mtu: int | None = None


@dataclass(frozen=True)
class TransportReader:
    """Reads `transport` and `links`, and notes what is wrong."""

    reader: Reader
    nodes: Sequence[str]

    def links(self, mtu: int) -> tuple[RelayedLink, ...]:
        """Every pair that needs relays, in the order of the nodes; `mtu` is the mesh's."""
        default = Choice(transport=self._transport("transport", self.reader.raw.get("transport")))
        chosen = self._chosen(mtu)
        pairs = [(one, other) for at, one in enumerate(self.nodes) for other in self.nodes[at + 1 :]]
        choices = [(frozenset(pair), chosen.get(frozenset(pair), default)) for pair in pairs]
        return tuple(
            RelayedLink(between=pair, auto=choice.transport == AUTO, mtu=choice.mtu or min(TCP_MTU, mtu))
            for pair, choice in choices
            if choice.transport != UDP
        )

    def _chosen(self, mtu: int) -> dict[Pair, Choice]:
        found: dict[Pair, Choice] = {}
        for index, entry in enumerate(self.reader.entries("links", LINK_KEYS)):
            path = f"links[{index}]"
            pair = self._pair(path, entry)
            if pair in found:
                reason = "is also the pair of another link"
                self.reader.wrong(f"{path}.between", sorted(pair), reason, "say all of a pair in one place")
            found[pair] = Choice(
                transport=self._transport(f"{path}.transport", entry.get("transport")),
                mtu=self._mtu(path, entry, mtu),
            )
        return found

    def _pair(self, path: str, entry: Mapping[str, Any]) -> Pair:
        value = entry.get("between")
        names = value if isinstance(value, list) and all(isinstance(name, str) for name in value) else []
        if len(set(names)) != 2 or len(names) != 2 or not set(names) <= set(self.nodes):  # noqa: PLR2004 (a pair)
            fix = f"name two of {', '.join(self.nodes)}"
            self.reader.wrong(f"{path}.between", value, "is not a pair of nodes", fix)
        return frozenset(names)

    def _transport(self, path: str, value: object) -> str:
        if value not in TRANSPORTS:
            self.reader.wrong(path, value, "is not a transport", f"one of {', '.join(TRANSPORTS)}")
        return str(value)

    def _mtu(self, path: str, entry: Mapping[str, Any], most: int) -> int | None:
        value = entry.get("mtu")
        if value is None:
            return None
        if entry.get("transport") == UDP:
            fix = "leave it out: a link over UDP has the mesh's mtu"
            self.reader.wrong(f"{path}.mtu", value, "is set for a link that is never over TCP", fix)
        elif not isinstance(value, int) or isinstance(value, bool) or not MIN_MTU <= value <= most:
            reason = f"is not a whole number from {MIN_MTU} to {most}"
            self.reader.wrong(f"{path}.mtu", value, reason, f"choose at most the mesh's mtu, {most}")
        else:
            return value
        return None
