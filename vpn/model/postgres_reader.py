"""Reads `postgres` of a configuration, and notes what is wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any

from vpn.model.hosts import Host
from vpn.model.postgres import (
    ETCD,
    HAPROXY,
    MEMBERS,
    NUMBERS,
    OWN_ACCOUNTS,
    POSTGRES,
    Backups,
    Database,
    Postgres,
    Timings,
)
from vpn.model.reader import Reader

MOST_GENERATIONS = 1000
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
    "backups",
    "generation",
    "restoreTo",
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
    "backups": {},
    "generation": 1,
    "restoreTo": None,
}
BACKUP_KEYS = ("node", "every", "fullEvery", "keep")
BACKUP_DEFAULTS: Mapping[str, Any] = {"node": None, "every": 24, "fullEvery": 168, "keep": 2}
LONGEST_PERIOD = 24 * 366  # hours
MOST_KEPT = 1000
VERSIONS = (17,)  # what Debian trixie has
SHORTEST = {"ttl": 20, "loopWait": 1, "retryTimeout": 3}  # seconds (Patroni 4.0, config.py)
LONGEST = 3600
LONGEST_NAME = 63 - len(f"{POSTGRES}-")  # of a node (RFC 1123, 2.1)
LEAST_CONNECTIONS, MOST_CONNECTIONS = 25, 1000  # Patroni takes no less; each is a process
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
    ("archive_mode", "archive_timeout", "wal_sender_timeout", "wal_receiver_timeout"), "is set by the cluster"
)
REFUSED |= dict.fromkeys(
    ("data_sync_retry", "fsync", "full_page_writes", "synchronous_commit", "zero_damaged_pages"),
    "could lose rows that PostgreSQL has acknowledged",
)
REFUSED |= dict.fromkeys(
    ("archive_cleanup_command", "archive_command", "archive_library", "recovery_end_command", "ssl_passphrase_command"),
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

    def postgres(self, before: Mapping[str, Any]) -> Postgres:
        """The cluster; not one to use when something wrong was noted. `before`: what the last `up` said of it."""
        reader = self.reader
        roles = self._roles()
        backups = self._backups()
        self._check_lengths()
        generation = self._generation(before, has_backups=backups.node is not None)
        return Postgres(
            nodes=self._members(before.get("members", ())),
            clients=self._nodes("clients") if reader.raw.get("clients") is not None else tuple(self.nodes),
            version=self._version(),
            memory=self._memory(before),
            timings=self._timings(),
            parameters=self._parameters(),
            roles=roles,
            databases=self._databases(roles),
            backups=backups,
            generation=generation,
            restore_to=self._moment(generation),
            protect=reader.flag("protect"),
        )

    def places(self) -> dict[str, str]:
        """The node of everything at whose ports there can be a service."""
        clients = self.reader.raw.get("clients")
        known = self.nodes if clients is None else [name for name in self.nodes if name in _listed(clients)]
        return {f"{HAPROXY}-{node}": node for node in known}

    def own_names(self) -> dict[str, str]:
        """Names that nobody else in the mesh can have, and what has them."""
        return {f"{kind}-{node}": f"the {kind} at {node}" for kind in NUMBERS for node in self.nodes}

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

    def _check_lengths(self) -> None:
        for name in self.nodes:
            if len(name) > LONGEST_NAME:
                reason = f"leaves no room for {POSTGRES}-{name}, as a container there could be called"
                self.reader.wrong("nodes", name, reason, f"use a name of at most {LONGEST_NAME} letters")

    # --- backups

    def _backups(self) -> Backups:
        reader = self.reader.within("backups", BACKUP_KEYS, BACKUP_DEFAULTS)
        node = reader.raw["node"]
        if self.reader.raw["backups"] != {} and node not in self.nodes:
            reader.wrong("node", node, "is not a node on a Docker engine", f"one of {', '.join(self.nodes)}")
        every, full_every = (reader.number(key, 1, LONGEST_PERIOD) for key in ("every", "fullEvery"))
        return Backups(node=node, every=every, full_every=full_every, keep=reader.number("keep", 1, MOST_KEPT))

    def _generation(self, before: Mapping[str, Any], *, has_backups: bool) -> int:
        generation = self.reader.number("generation", 1, MOST_GENERATIONS)
        known = int(before.get("generation", MOST_GENERATIONS))
        if generation > 1 and not has_backups:
            reason, fix = "begins with the backups of the one before, and there are none", "set backups.node, too"
            self.reader.wrong("generation", generation, reason, fix)
        elif generation > known + 1:
            reason = f"is not one more than that of the cluster that there is, {known}"
            self.reader.wrong("generation", generation, reason, f"choose {known + 1}")
        return generation

    def _moment(self, generation: int) -> datetime | None:
        value = self.reader.raw["restoreTo"]
        if value is None:
            return None
        moment = _moment(value)
        if moment is None:
            fix = "write it like 2026-01-31T08:00:00Z"
            self.reader.wrong("restoreTo", value, "is not a moment with its time zone", fix)
        elif generation == 1:
            fix = "raise generation, or leave it out"
            self.reader.wrong("restoreTo", value, "is nothing that a first generation can begin from", fix)
        return moment

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

    def _memory(self, before: Mapping[str, Any]) -> int:
        """A container with less starts once with what the config before makes of more, a quarter of that."""
        memory, known = self.reader.number("memory", LEAST_MEMORY, MOST_MEMORY), int(before.get("memory", 0))
        if 2 * memory < known:
            reason = f"is less than half of what the cluster has now, {known}"
            self.reader.wrong("memory", memory, reason, f"lower it step by step, now to {known // 2} at least")
        return memory

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
        elif not _is_setting(setting):
            self.reader.wrong(path, setting, "is not a text, number or truth value", "write it like work_mem: 16MB")
        elif name == "max_connections" and not _is_count(setting):
            reason = f"is not a whole number from {LEAST_CONNECTIONS} to {MOST_CONNECTIONS}"
            self.reader.wrong(path, setting, reason, "take one of these, and a pooler for more clients")

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


def check_places(reader: Reader, cluster: Postgres | None, before: Mapping[str, str]) -> None:
    """Note where a member would move; `before` holds the addresses in the last `up`, by name."""
    for place in (*cluster.members(ETCD), *cluster.members(POSTGRES)) if cluster else ():
        if before.get(place.name, str(place.address)) != str(place.address):
            reason = f"would move {place.name} from {before[place.name]} to {place.address}, where the others miss it"
            fix = "leave siteRange, and the address of that node, as they were"
            reader.wrong("postgres.nodes", place.node, reason, fix)


def _is_setting(value: object) -> bool:
    return isfinite(value) if isinstance(value, int | float) else isinstance(value, str) and value.isprintable()


def _is_count(value: object) -> bool:
    return type(value) is int and LEAST_CONNECTIONS <= value <= MOST_CONNECTIONS


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
