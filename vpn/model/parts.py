"""What the mesh itself has at the sites of its nodes, beside workloads: a database, and monitoring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from vpn.model.hosts import Host
from vpn.model.monitoring import NUMBER, Monitoring
from vpn.model.monitoring_reader import MonitoringReader
from vpn.model.postgres import NUMBERS, Postgres
from vpn.model.postgres_reader import PostgresReader
from vpn.model.reader import Reader


@dataclass(frozen=True)
class Parts:
    """Those that there are, before sites have ranges."""

    postgres: Postgres | None
    monitoring: Monitoring | None

    def pairs(self, nodes: Sequence[str]) -> frozenset[frozenset[str]]:
        """Nodes that need a tunnel, whatever the rules say."""
        of_database = self.postgres.pairs if self.postgres else frozenset()
        return of_database | (self.monitoring.pairs(nodes) if self.monitoring else frozenset())

    @property
    def numbers(self) -> tuple[int, ...]:
        """Theirs in the range of a site; no workload has such a one, or a greater."""
        return (*(NUMBERS.values() if self.postgres else ()), *((NUMBER,) if self.monitoring else ()))

    def at(self, sites: Mapping[str, IPv4Network]) -> dict[str, Any]:
        """The fields of a topology."""
        return {
            "postgres": self.postgres.at(sites) if self.postgres else None,
            "monitoring": self.monitoring.at(sites) if self.monitoring else None,
        }


@dataclass(frozen=True)
class PartsReader:
    """Reads them, and notes what is wrong."""

    postgres: PostgresReader | None
    monitoring: MonitoringReader | None

    @classmethod
    def of(cls, reader: Reader, nodes: Sequence[str]) -> "PartsReader":
        """For a mesh of these nodes."""
        return cls(PostgresReader.of(reader, nodes), MonitoringReader.of(reader, nodes))

    def parts(self, hosts: Mapping[str, Host], cluster: Mapping[str, Any]) -> Parts:
        """They stand on Docker engines alone. `hosts` by the node's name; `cluster`: the database so far."""
        return Parts(
            postgres=self.postgres.on_engines(hosts).postgres(cluster) if self.postgres else None,
            monitoring=self.monitoring.on_engines(hosts).monitoring() if self.monitoring else None,
        )

    def places(self) -> dict[str, str]:
        """The node of everything at whose ports there can be a service."""
        return {name: node for one in self._there for name, node in one.places().items()}

    def own_names(self) -> dict[str, str]:
        """Names that nobody else in the mesh can have, and what has them."""
        return {name: what for one in self._there for name, what in one.own_names().items()}

    @property
    def _there(self) -> list[PostgresReader | MonitoringReader]:
        return [one for one in (self.postgres, self.monitoring) if one]
