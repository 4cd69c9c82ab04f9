"""How encrypted packets travel between two nodes: as UDP, over TCP by a relay beside each of them, or as it works."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vpn.model.hosts import TCP, UDP, Reach
from vpn.model.reader import Reader
from vpn.model.shape import Pair

AUTO = "auto"
TRANSPORTS = (UDP, TCP, AUTO)
THROUGH_OTHERS = "through relays of others"
LINK_KEYS = ("between", "transport", "mtu")
TCP_MTU = 1376  # bytes; a datagram then fits one TCP segment of a path with an MTU of 1500 (Mullvad's own figure)
MIN_MTU = 576  # bytes every IPv4 host takes (RFC 791, 3.1)
ECHO_PORT = 1024  # UDP port where a relay answers
PAIR = 2
RELAYS = 2  # when the configuration names none: one may fail
FIRST_PORT = ECHO_PORT  # plus the peer's number, from 1: the UDP port at a node's relay that leads to the peer


@dataclass(frozen=True, kw_only=True)
class RelayedLink:
    """Two nodes that speak over TCP, or can."""

    between: Pair
    auto: bool = False
    """Over TCP only while UDP does not get through."""
    mtu: int
    """MTU of the tunnel between them in bytes."""
    through: tuple[str, ...] = ()
    """Nodes whose relays hand on what it carries, the preferred one first, because nothing gets in at either end."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the configuration says of a pair, or of every pair."""

    transport: str
    mtu: int | None = None


@dataclass(frozen=True)
class TransportReader:
    """Reads `transport`, `links` and `relays`, and notes what is wrong."""

    reader: Reader
    reach: Reach

    def links(self, tunnels: Collection[Pair], mtu: int) -> tuple[RelayedLink, ...]:
        """Every tunnel that needs relays; `mtu` is the mesh's."""
        default = Choice(transport=self._transport("transport", self.reader.raw.get("transport")))
        chosen, relays = self._chosen(tunnels, mtu), self._relays()
        found = {pair: self._link(pair, chosen.get(pair, default), relays, mtu) for pair in tunnels}
        self._check_paths([link for link in found.values() if link])
        return tuple(link for link in found.values() if link)

    def _link(self, pair: Pair, choice: Choice, relays: tuple[str, ...], mtu: int) -> RelayedLink | None:
        transport = self._possible(pair, choice.transport)
        if transport == UDP:
            return None
        through = () if transport in TRANSPORTS else relays
        most = choice.mtu or min(TCP_MTU, mtu)
        return RelayedLink(between=pair, auto=transport == AUTO, mtu=most, through=through)

    def _possible(self, pair: Pair, wanted: str) -> str:
        """The wanted transport where something gets in for it, else what does."""
        one, other = sorted(pair)
        udp = self.reach.udp(one, other) or self.reach.udp(other, one)
        tcp = self.reach.tcp(one, other) or self.reach.tcp(other, one)
        if (wanted == UDP and udp) or (wanted in (TCP, AUTO) and tcp and (udp or wanted == TCP)):
            return wanted
        return TCP if tcp else THROUGH_OTHERS

    def _check_possible(self, path: str, pair: Pair, wanted: str) -> None:
        possible = self._possible(pair, wanted)
        if possible != wanted:
            hosts = " and ".join(sorted({self.reach.hosts[name].name for name in pair}))
            fix = f"leave it out: {possible} is what works; or change inbound of a host"
            self.reader.wrong(path, wanted, f"cannot be: it gets in at neither of {hosts}", fix)

    def _check_paths(self, links: Sequence[RelayedLink]) -> None:
        lost = [link for link in links if not link.auto and not link.through and self._is_closed(link.between)]
        between = dict.fromkeys(tuple(sorted(self.reach.hosts[name].name for name in link.between)) for link in lost)
        for one, other in between:
            fix = "put a node on a host with inbound udp or tcp: it relays for those"
            self.reader.wrong("hosts", f"{one} and {other}", "have no path: nothing gets in at either", fix)

    def _is_closed(self, pair: Pair) -> bool:
        one, other = pair
        return not self.reach.tcp(one, other) and not self.reach.tcp(other, one)

    # --- relays

    def _relays(self) -> tuple[str, ...]:
        """Those of the configuration, else two that anybody reaches, if possible on two hosts."""
        names = self.reader.raw.get("relays")
        able = [name for name, host in self.reach.hosts.items() if self.reach.takes_tcp(name) and not host.guest]
        if not isinstance(names, list) or not names:
            if names != []:
                self.reader.wrong("relays", names, "is not a list", "write it like [node-a, node-b]")
            first_each = {self.reach.hosts[name].name: name for name in reversed(able)}
            return tuple(sorted(able, key=lambda name: (name not in first_each.values(), able.index(name)))[:RELAYS])
        for index, name in enumerate(names):
            if name not in able:
                fix = f"one of {', '.join(able)}"
                reason = "is no node of a Docker host that others reach over TCP"
                self.reader.wrong(f"relays[{index}]", name, reason, fix)
        return tuple(dict.fromkeys(str(name) for name in names))

    # --- links

    def _chosen(self, tunnels: Collection[Pair], mtu: int) -> dict[Pair, Choice]:
        found: dict[Pair, Choice] = {}
        for index, entry in enumerate(self.reader.entries("links", LINK_KEYS)):
            path = f"links[{index}]"
            pair = self._pair(path, entry, tunnels)
            if pair in found:
                reason = "is also the pair of another link"
                self.reader.wrong(f"{path}.between", sorted(pair), reason, "say all of a pair in one place")
            transport = self._transport(f"{path}.transport", entry.get("transport"))
            if pair in tunnels and transport in TRANSPORTS:
                self._check_possible(f"{path}.transport", pair, transport)
            found[pair] = Choice(transport=transport, mtu=self._mtu(path, entry, mtu))
        return found

    def _pair(self, path: str, entry: Mapping[str, Any], tunnels: Collection[Pair]) -> Pair:
        value, known = entry.get("between"), self.reach.hosts
        names = value if isinstance(value, list) and all(isinstance(name, str) for name in value) else []
        if len(set(names)) != PAIR or len(names) != PAIR or not set(names) <= set(known):
            self.reader.wrong(f"{path}.between", value, "is not a pair of nodes", f"name two of {', '.join(known)}")
        elif frozenset(names) not in tunnels:
            fix = "add a rule between them, or leave the link out"
            self.reader.wrong(f"{path}.between", value, "have no tunnel by the rules and the topology", fix)
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
