"""A PostgreSQL cluster of three members that goes on when one of them is lost, as one value.

Each member is a PostgreSQL with its Patroni and an etcd, at the site of a node; HAProxy at the sites of its clients
leads them to the member that is the primary now. All that the cluster needs to know of the mesh is the sites' ranges.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network
from itertools import product

from vpn.model.addresses import host
from vpn.model.policy import Ports

POSTGRES, ETCD, HAPROXY, BACKUP = "postgres", "etcd", "haproxy", "backup"
# High in a site's range, which has workloads from its low end on, so that these addresses never move.
NUMBERS: Mapping[str, int] = {POSTGRES: 250, ETCD: 251, HAPROXY: 252, BACKUP: 253}
MEMBERS = 3  # one can be lost: etcd and a quorum commit both need a majority
POSTGRES_PORT, API_PORT = 5432, 8008
ETCD_PORT, ETCD_PEER_PORT = 2379, 2380
PRIMARY_PORT, REPLICA_PORT = 5000, 5001
BACKUP_PORT = 8432
METRICS_PORTS: Mapping[str, int] = {POSTGRES: API_PORT, ETCD: 2381, HAPROXY: 8405}
"""Where the parts of the cluster tell how they are, once somebody asks."""
REPLICATION, REWIND, API = "replication", "rewind", "api"
OWN_ACCOUNTS = (REPLICATION, REWIND, API)
"""What has a password beside the configured roles. The superuser has none: it comes by the member's own socket only."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A container of the cluster at the site of a node."""

    kind: str
    """postgres, etcd, haproxy or backup."""
    node: str
    address: IPv4Address

    @property
    def name(self) -> str:
        """Its name in the mesh, and of its container behind the mesh's prefix."""
        return f"{self.kind}-{self.node}"


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Connections that the cluster itself needs."""

    source: Place
    target: Place
    ports: Ports


@dataclass(frozen=True, kw_only=True)
class Timings:
    """When Patroni takes a member for lost; in seconds."""

    ttl: int
    """How long the primary stays it without a sign of life."""
    loop_wait: int
    """Between two looks of a member at its state."""
    retry_timeout: int
    """How long one waits for etcd or PostgreSQL."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database and the role that owns it."""

    name: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class Backups:
    """Where backups are, and when one is made; periods in hours."""

    node: str | None
    """None when there are none."""
    every: int
    """From one backup to the next, which has what changed since."""
    full_every: int
    """From one backup of everything to the next."""
    keep: int
    """How many backups of everything; with each goes what is needed to go on from it to any moment."""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A checked cluster."""

    nodes: tuple[str, ...]
    """The nodes of the members."""
    clients: tuple[str, ...]
    """The nodes at whose sites HAProxy leads to the cluster."""
    version: int
    memory: int
    """MiB of a PostgreSQL with its Patroni."""
    timings: Timings
    parameters: Mapping[str, str | int | float | bool]
    """Of PostgreSQL, beside what the cluster itself sets."""
    roles: tuple[str, ...]
    databases: tuple[Database, ...]
    backups: Backups
    generation: int
    """One more begins anew with what the backups of the one before have."""
    restore_to: datetime | None
    """The moment in the life of the generation before to begin from; None is its end."""
    protect: bool
    """Whether the data stay when the stack is destroyed."""
    sites: Mapping[str, IPv4Network] = field(default_factory=dict)
    """Range of every site, by the node's name."""

    def at(self, sites: Mapping[str, IPv4Network]) -> "Postgres":
        """The same at these sites."""
        return replace(self, sites=sites)

    @property
    def accounts(self) -> tuple[str, ...]:
        """All that have a password."""
        return (*OWN_ACCOUNTS, *self.roles)

    # --- places

    def place(self, kind: str, node: str) -> Place:
        """A container of the cluster. Raises KeyError when the node is none of the mesh."""
        return Place(kind=kind, node=node, address=host(self.sites[node], NUMBERS[kind]))

    def members(self, kind: str) -> tuple[Place, ...]:
        """All PostgreSQLs, or all etcds."""
        return tuple(self.place(kind, node) for node in self.nodes)

    @property
    def proxies(self) -> tuple[Place, ...]:
        """All HAProxies."""
        return tuple(self.place(HAPROXY, node) for node in self.clients)

    @property
    def archives(self) -> tuple[Place, ...]:
        """What keeps the backups: one, or none."""
        return (self.place(BACKUP, self.backups.node),) if self.backups.node else ()

    @property
    def places(self) -> tuple[Place, ...]:
        """All containers of the cluster."""
        return (*self.members(ETCD), *self.members(POSTGRES), *self.archives, *self.proxies)

    # --- what the cluster needs of the mesh

    @property
    def pairs(self) -> frozenset[frozenset[str]]:
        """Nodes that need a tunnel, whatever the rules say."""
        beside = (self.backups.node,) if self.backups.node else ()
        others = (*self.nodes, *self.clients, *beside)
        return frozenset(frozenset((one, member)) for one in others for member in self.nodes if one != member)

    def flows(self) -> Iterator[Flow]:
        """All connections between sites that the cluster needs, and no other."""
        etcds, members = self.members(ETCD), self.members(POSTGRES)
        wanted = (
            (members, members, (POSTGRES_PORT, API_PORT)),
            (members, etcds, (ETCD_PORT,)),
            (etcds, etcds, (ETCD_PORT, ETCD_PEER_PORT)),
            (self.proxies, members, (POSTGRES_PORT, API_PORT)),
            (members, self.archives, (BACKUP_PORT,)),
            (self.archives, members, (BACKUP_PORT,)),
        )
        for sources, targets, ports in wanted:
            for source, target in product(sources, targets):
                if source.node != target.node:
                    yield from (Flow(source=source, target=target, ports=_tcp(port)) for port in ports)


def _tcp(port: int) -> Ports:
    return Ports(protocol="tcp", first=port, last=port)
