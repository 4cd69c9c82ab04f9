"""Reads `postgres` of a configuration, and notes what is wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vpn.model.hosts import Host
from vpn.model.postgres import ETCD, HAPROXY, MEMBERS, OWN_ACCOUNTS, POSTGRES, Database, Postgres, Timings
from vpn.model.reader import Reader

POSTGRES_KEYS = (
    "nodes",
    "clients",
    "version",
    "memory",
    "ttl",
    "loopWait",
    "retryTimeout",
    "parameters",
    "roles",
    "databases",
    "protect",
)
POSTGRES_DEFAULTS: Mapping[str, Any] = {
    "nodes": [],
    "version": 17,
    "memory": 512,
    # A lost primary keeps its key for the rest of ttl; it renews it every loopWait, so a longer one leaves less of it.
    "ttl": 20,
    "loopWait": 12,
    "retryTimeout": 4,
    "parameters": {},
    "roles": [],
    "databases": [],
    "protect": True,
}
VERSIONS = (17,)  # what Debian trixie has
SHORTEST = {"ttl": 20, "loopWait": 1, "retryTimeout": 3}  # seconds (Patroni 4.0, config.py)
LONGEST = 3600
LEAST_MEMORY, MOST_MEMORY = 128, 1 << 20  # MiB
IDENTIFIER = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
IDENTIFIER_FIX = "use 1 to 63 of a-z, 0-9 and '_', neither a digit nor pg_ at the start"
TAKEN_ROLES = ("postgres", "public", "none", *OWN_ACCOUNTS)
TAKEN_DATABASES = ("postgres", "template0", "template1")
PARAMETER = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
# Patroni sets these (Patroni 4.0, Dynamic Configuration Settings), the cluster does, or its promise hangs on them.
REFUSED: dict[str, str] = dict.fromkeys(
    (
        "cluster_name",
        "hot_standby",
        "listen_addresses",
        "port",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "recovery_target",
        "recovery_target_action",
        "recovery_target_timeline",
        "restore_command",
        "synchronous_standby_names",
        "wal_level",
        "wal_log_hints",
    ),
    "is set by Patroni",
)
REFUSED |= dict.fromkeys(
    ("config_file", "data_directory", "hba_file", "ident_file", "unix_socket_directories", "password_encryption"),
    "is set by the cluster",
)
REFUSED |= dict.fromkeys(
    ("fsync", "full_page_writes", "synchronous_commit"), "could lose rows that PostgreSQL has acknowledged"
)
REFUSED |= dict.fromkeys(
    ("archive_cleanup_command", "archive_command", "recovery_end_command", "ssl_passphrase_command"),
    "runs a command in the member",
)


@dataclass(frozen=True)
class PostgresReader:
    """Reads what the cluster is to be; where its sites are comes later, from the topology."""

    reader: Reader
    nodes: Sequence[str]
    """Those where it can be: of the mesh, and at last only those on Docker engines."""

    @classmethod
    def of(cls, reader: Reader, nodes: Sequence[str]) -> "PostgresReader | None":
        """None when there is to be no cluster."""
        if reader.raw.get("postgres") in (None, {}):
            return None
        return cls(reader.within("postgres", POSTGRES_KEYS, POSTGRES_DEFAULTS), nodes)

    def on_engines(self, hosts: Mapping[str, Host]) -> "PostgresReader":
        """For nodes on Docker engines alone: into a confidential VM nothing is carried. `hosts` by the node's name."""
        return replace(self, nodes=[name for name in self.nodes if not hosts[name].guest])

    def postgres(self, before: Sequence[str] = ()) -> Postgres:
        """The cluster; not one to use when something wrong was noted. `before`: nodes of the members so far."""
        reader = self.reader
        roles = self._roles()
        return Postgres(
            nodes=self._members(before),
            clients=self._nodes("clients") if reader.raw.get("clients") is not None else tuple(self.nodes),
            version=self._version(),
            memory=reader.number("memory", LEAST_MEMORY, MOST_MEMORY),
            timings=self._timings(),
            parameters=self._parameters(),
            roles=roles,
            databases=self._databases(roles),
            protect=reader.flag("protect"),
        )

    def places(self) -> dict[str, str]:
        """The node of everything at whose ports there can be a service."""
        clients = self.reader.raw.get("clients")
        known = self.nodes if clients is None else [name for name in self.nodes if name in _listed(clients)]
        return {f"{HAPROXY}-{node}": node for node in known}

    def own_names(self) -> dict[str, str]:
        """Names that nobody else in the mesh can have, and what has them."""
        return {f"{kind}-{node}": f"the {kind} at {node}" for kind in (POSTGRES, ETCD, HAPROXY) for node in self.nodes}

    # --- nodes

    def _members(self, before: Sequence[str]) -> tuple[str, ...]:
        nodes = self._nodes("nodes")
        if len(nodes) != MEMBERS:
            fix = f"name {MEMBERS}: one can be lost, as etcd and commits need a majority"
            self.reader.wrong("nodes", self.reader.raw["nodes"], f"are not {MEMBERS} nodes", fix)
        elif before and set(before) != set(nodes):
            fix = f"name {', '.join(before)}: etcd admits no other member by itself"
            self.reader.wrong("nodes", list(nodes), "are not those of the cluster that there is", fix)
        return nodes

    def _nodes(self, key: str) -> tuple[str, ...]:
        value = self.reader.raw.get(key)
        if not isinstance(value, list):
            self.reader.wrong(key, value, "is not a list of nodes", "write it like [node-a, node-b, node-c]")
            return ()
        for index, name in enumerate(value):
            if name not in self.nodes:
                reason, fix = "is not a node on a Docker engine", f"one of {', '.join(self.nodes)}"
                self.reader.wrong(f"{key}[{index}]", name, reason, fix)
            elif name in value[:index]:
                self.reader.wrong(f"{key}[{index}]", name, "is named twice", "name another")
        return tuple(dict.fromkeys(str(name) for name in value))

    # --- numbers

    def _version(self) -> int:
        version = self.reader.raw["version"]
        if version not in VERSIONS or isinstance(version, bool):
            self.reader.wrong("version", version, "is not a version that there is", f"one of {VERSIONS[0]}")
        return VERSIONS[0]

    def _timings(self) -> Timings:
        """Patroni would silently take other numbers if these did not fit together."""
        count = len(self.reader.problems)
        ttl, loop_wait, retry = (self.reader.number(key, low, LONGEST) for key, low in SHORTEST.items())
        if len(self.reader.problems) == count and loop_wait + 2 * retry > ttl:
            reason = (
                f"is less than loopWait + 2 * retryTimeout = {loop_wait + 2 * retry}: a primary could outlive its key"
            )
            self.reader.wrong("ttl", ttl, reason, f"raise it to {loop_wait + 2 * retry}, or lower the others")
        return Timings(ttl=ttl, loop_wait=loop_wait, retry_timeout=retry)

    # --- what PostgreSQL is told

    def _parameters(self) -> dict[str, Any]:
        value = self.reader.raw["parameters"]
        if not isinstance(value, Mapping):
            self.reader.wrong("parameters", value, "is not a mapping", "write it like work_mem: 16MB")
            return {}
        for name, setting in value.items():
            self._check_parameter(str(name), setting)
        return dict(value)

    def _check_parameter(self, name: str, setting: object) -> None:
        path = f"parameters.{name}"
        if name in REFUSED:
            self.reader.wrong(path, setting, REFUSED[name], "leave it out")
        elif not PARAMETER.fullmatch(name):
            self.reader.wrong(path, setting, "is not the name of a parameter", "write it like work_mem")
        elif not isinstance(setting, str | int | float) or (isinstance(setting, str) and not setting.isprintable()):
            self.reader.wrong(path, setting, "is not a text, number or truth value", "write it like work_mem: 16MB")
        elif name == "max_connections" and (isinstance(setting, bool) or not isinstance(setting, int) or setting < 25):  # noqa: PLR2004
            self.reader.wrong(path, setting, "is not a whole number from 25", "Patroni takes no less")

    def _roles(self) -> tuple[str, ...]:
        entries = self.reader.entries("roles", ("name",))
        return self._identifiers("roles", [entry.get("name") for entry in entries], TAKEN_ROLES)

    def _databases(self, roles: Sequence[str]) -> tuple[Database, ...]:
        entries = self.reader.entries("databases", ("name", "owner"))
        names = self._identifiers("databases", [entry.get("name") for entry in entries], TAKEN_DATABASES)
        for index, entry in enumerate(entries):
            if entry.get("owner") not in roles:
                fix = f"one of {', '.join(roles)}" if roles else "name the role in roles, too"
                self.reader.wrong(f"databases[{index}].owner", entry.get("owner"), "is not one of roles", fix)
        owners = [str(entry.get("owner")) for entry in entries]
        return tuple(Database(name=name, owner=owner) for name, owner in zip(names, owners, strict=True))

    def _identifiers(self, key: str, names: Sequence[object], taken: Sequence[str]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            path = f"{key}[{index}].name"
            self.reader.text(path, name, IDENTIFIER, IDENTIFIER_FIX)
            if name in taken:
                self.reader.wrong(path, name, "has a meaning of its own in the cluster", "choose another name")
            if name in names[:index]:
                self.reader.wrong(path, name, "is named twice", "name each once")
        return tuple(str(name) for name in names)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
