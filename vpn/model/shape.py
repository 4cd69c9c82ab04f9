"""Which nodes have a tunnel between them, and by which nodes the others' packets go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vpn.model.hosts import Host
from vpn.model.reader import Reader

FULL, HUB, REGIONS = "full", "hub", "regions"
SHAPES = (FULL, HUB, REGIONS)
Pair = frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Nodes in groups: within one, each has a tunnel with each; between two, packets go by the groups' gateways."""

    groups: Mapping[str, str] = field(default_factory=dict)
    """The group of every node; a node that is not there is in the group of all such."""
    gateways: Mapping[str, str] = field(default_factory=dict)
    """The node that leads out of a group, by the group."""

    def route(self, one: str, other: str) -> tuple[str, ...]:
        """The nodes by which packets go, both ends among them."""
        mine, theirs = self.groups.get(one, ""), self.groups.get(other, "")
        if mine == theirs:
            return one, other
        return tuple(dict.fromkeys((one, self.gateways[mine], self.gateways[theirs], other)))


@dataclass(frozen=True)
class ShapeReader:
    """Reads `topology`, `hub` and `gateways`, and notes what is wrong."""

    reader: Reader
    hosts: Mapping[str, Host]
    """The host of every node, by the node's name."""

    def shape(self) -> Shape:
        """Full mesh when the configuration says nothing, or something wrong."""
        raw = self.reader.raw
        kind = raw.get("topology")
        if kind not in SHAPES:
            self.reader.wrong("topology", kind, "is not known", f"one of {', '.join(SHAPES)}")
        for key, only, empty in (("hub", HUB, ""), ("gateways", REGIONS, [])):
            if raw.get(key) != empty and kind != only:
                self.reader.wrong(key, raw.get(key), f"is set without topology: {only}", "leave it out, or set that")
        if kind == HUB:
            return self._hub(raw.get("hub"))
        return self._regions(raw.get("gateways")) if kind == REGIONS else Shape()

    def _hub(self, hub: object) -> Shape:
        if not isinstance(hub, str) or hub not in self.hosts:
            self.reader.wrong("hub", hub, "is not a node", f"one of {', '.join(self.hosts)}")
            return Shape()
        return Shape(groups={node: node for node in self.hosts}, gateways=dict.fromkeys(self.hosts, hub))

    def _regions(self, names: Any) -> Shape:
        """One gateway for every region that has nodes."""
        gateways: dict[str, str] = {}
        for index, name in enumerate(names if isinstance(names, list) else ()):
            region = self.hosts[name].region if isinstance(name, str) and name in self.hosts else None
            if region is None:
                self.reader.wrong(f"gateways[{index}]", name, "is not a node", f"one of {', '.join(self.hosts)}")
            elif region in gateways:
                fix = "name one for each region"
                self.reader.wrong(f"gateways[{index}]", name, f"is in region {region!r}, as {gateways[region]} is", fix)
            else:
                gateways[region] = name
        for region in dict.fromkeys(host.region for host in self.hosts.values()):
            if region not in gateways:
                fix = "name a node there, and give every host its region"
                self.reader.wrong("gateways", names, f"names no gateway of region {region!r}", fix)
        groups = {node: host.region for node, host in self.hosts.items()}
        return Shape(groups=groups, gateways=gateways) if set(groups.values()) <= set(gateways) else Shape()


def tunnels(shape: Shape, talking: Iterable[tuple[str, str]]) -> dict[Pair, None]:
    """Pairs of nodes with a tunnel, in the order of who needs them."""
    return dict.fromkeys(pair for one, other in talking for pair in steps(shape.route(one, other)))


def steps(route: Sequence[str]) -> list[Pair]:
    """The tunnels of a route."""
    return [frozenset(pair) for pair in pairwise(route)]
