"""Monitoring of the mesh from one of its nodes, as one value.

Prometheus stands at that node's site and asks all nodes on their VPN addresses how they are. It also is the server of
the status page. All it needs to know of the mesh is where the sites are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from vpn.model.addresses import host

MONITORING = "monitoring"  # its name in the mesh, and of its container behind the mesh's prefix
NUMBER = 249  # in the site's range; workloads have the low end, a PostgreSQL cluster what is above
METRICS_PORT = 9586  # of every node, on its VPN address alone
PORT = 9090
PAGE = "user/"  # path of the status page (prometheus, --web.user-assets)
LOOKS = 2  # of a node in the time between two questions, so that an answer is never old
SLOWEST = 60  # seconds


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """A checked Prometheus."""

    node: str
    """At whose site it is."""
    retention: int
    """Days that samples are kept."""
    size: int
    """GB that they take at most; the oldest go first."""
    interval: int
    """Seconds between two questions to a node."""
    webhook: str | None = field(default=None, repr=False)
    """URL that Alertmanager tells of alerts, which may hold a key; None: there is no Alertmanager."""
    sites: Mapping[str, IPv4Network] = field(default_factory=dict)
    """Range of every site, by the node's name."""

    def at(self, sites: Mapping[str, IPv4Network]) -> "Monitoring":
        """The same at these sites."""
        return replace(self, sites=sites)

    @property
    def kind(self) -> str:
        """What it is, among containers."""
        return MONITORING

    @property
    def name(self) -> str:
        """As whose place it is known in the mesh."""
        return MONITORING

    @property
    def address(self) -> IPv4Address:
        """Where it is. Raises KeyError when its node is none of the mesh."""
        return host(self.sites[self.node], NUMBER)

    @property
    def pause(self) -> int:
        """Seconds between two looks of a node at itself."""
        return max(1, self.interval // LOOKS)

    def pairs(self, nodes: Iterable[str]) -> frozenset[frozenset[str]]:
        """Nodes that need a tunnel, whatever the rules say."""
        return frozenset(frozenset((self.node, node)) for node in nodes if node != self.node)
