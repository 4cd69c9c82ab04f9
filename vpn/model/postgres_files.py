"""What the containers of a PostgreSQL cluster read: name -> text. The passwords are in those of PostgreSQL alone."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vpn.model import certificates, pgbackrest
from vpn.model.keys import KeyRing
from vpn.model.pgbackrest import AUTHORITY, CERTIFICATE, KEY, RUN, SOCKETS
from vpn.model.postgres import (
    API,
    API_PORT,
    ETCD,
    ETCD_PEER_PORT,
    ETCD_PORT,
    HAPROXY,
    METRICS_PORTS,
    POSTGRES,
    POSTGRES_PORT,
    PRIMARY_PORT,
    REPLICA_PORT,
    REPLICATION,
    REWIND,
    Place,
    Postgres,
)

ETCD_DATA = "/var/lib/etcd/data"
BINARIES = "/usr/lib/postgresql/{}/bin"
SUPERUSER = "postgres"
# Of connections whose other end is gone without a word, as when its node is lost; seconds.
KEEPALIVES = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
# A primary that was cut off stops only when it has given up its replicas, and joins the others only then; seconds.
REPLICATION_TIMEOUTS = {"wal_sender_timeout": "10s", "wal_receiver_timeout": "10s"}
# What the primary keeps for a member that is away, so that it does not fill its disk for it.
MOST_KEPT = {"max_slot_wal_keep_size": "10GB"}
# A heartbeat takes longer than a round trip of 80 ms, and an election is over before Patroni loses its patience.
ETCD_HEARTBEAT, ETCD_ELECTION = 200, 2000  # milliseconds (etcd, Tuning)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster with its secrets."""

    name: str
    postgres: Postgres
    keys: KeyRing
    passwords: Mapping[str, str] = field(repr=False)
    """Of `Postgres.accounts`."""

    def files(self, place: Place) -> dict[str, str]:
        """The config folder of a container of the cluster."""
        match place.kind:
            case "postgres":
                own = {"patroni.yml": _json(self._patroni(place)), "cluster.json": _json(self._wanted())}
                return own | self._identity(place) | self._archiving(place)
            case "etcd":
                own = {"etcd.yml": _json(self._etcd(place)), "wanted.json": _json(self._company(place))}
                return own | self._identity(place)
            case "backup":
                return {"wanted.json": _json(self._schedule())} | self._identity(place) | self._archiving(place)
            case _:
                return {"haproxy.cfg": self._haproxy(place)}

    def _archiving(self, place: Place) -> dict[str, str]:
        return {pgbackrest.CONFIG: pgbackrest.config(self.postgres, place)} if self.postgres.archives else {}

    def _schedule(self) -> dict[str, Any]:
        backups = self.postgres.backups
        return {
            "stanza": pgbackrest.stanza(self.postgres.generation),
            "every": backups.every,
            "full": backups.full_every,
        }

    def _identity(self, place: Place) -> dict[str, str]:
        own = certificates.identity(self.keys, self.name, place.name, place.address)
        return {AUTHORITY: certificates.authority(self.keys, self.name), CERTIFICATE: own.certificate, KEY: own.key}

    # --- PostgreSQL and Patroni (Patroni 4.0, YAML Configuration Settings; JSON is YAML)

    def _patroni(self, place: Place) -> dict[str, Any]:
        return {
            "scope": f"{self.name}-{self.postgres.generation}",
            "name": place.node,
            "restapi": self._api(place),
            "etcd3": {
                "hosts": [f"{one.address}:{ETCD_PORT}" for one in self.postgres.members(ETCD)],
                "protocol": "https",
                "cacert": f"{RUN}/{AUTHORITY}",
                "cert": f"{RUN}/{CERTIFICATE}",
                "key": f"{RUN}/{KEY}",
            },
            "bootstrap": {"dcs": self._dynamic(), **self._beginning()},
            "postgresql": self._local(place),
        }

    def _beginning(self) -> dict[str, Any]:
        """How a generation gets its first data."""
        if self.postgres.generation == 1:
            return {"initdb": _initdb()}
        restore = {"command": pgbackrest.restore(self.postgres), "no_params": True, "keep_existing_recovery_conf": True}
        return {"method": "backup", "backup": restore}

    def _api(self, place: Place) -> dict[str, Any]:
        """Anybody may ask how a member is; only members may tell it what to do, and only with the password."""
        at = f"{place.address}:{API_PORT}"
        return {
            "listen": at,
            "connect_address": at,
            "authentication": {"username": API, "password": self.passwords[API]},
            "allowlist": [f"{one.address}/32" for one in self.postgres.members(POSTGRES)],
        }

    def _local(self, place: Place) -> dict[str, Any]:
        at = f"{place.address}:{POSTGRES_PORT}"
        accounts = {name: {"username": name, "password": self.passwords[name]} for name in (REPLICATION, REWIND)}
        return {
            "listen": at,
            "connect_address": at,
            "data_dir": pgbackrest.data(self.postgres.generation),
            "bin_dir": BINARIES.format(self.postgres.version),
            "pgpass": f"{RUN}/pgpass",
            "basebackup": [{"checkpoint": "fast"}],  # else a new member waits for one of the primary's own, minutes
            "use_unix_socket": True,
            "authentication": {"superuser": {"username": SUPERUSER}, **accounts},
            "parameters": {"unix_socket_directories": SOCKETS},
        }

    def _dynamic(self) -> dict[str, Any]:
        """What all members go by, kept in etcd."""
        timings = self.postgres.timings
        return {
            "ttl": timings.ttl,
            "loop_wait": timings.loop_wait,
            "retry_timeout": timings.retry_timeout,
            "synchronous_mode": "quorum",  # a commit is acknowledged once one of the others has it, too,
            "synchronous_mode_strict": True,  # and not without
            "failsafe_mode": True,  # without etcd a primary goes on as long as all others know of it
            "postgresql": {
                "use_pg_rewind": True,
                "use_slots": True,
                # A member whose data cannot be rewound is made anew from the primary.
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
                "parameters": self._parameters(),
                "pg_hba": list(self._admission()),
            },
        }

    def _parameters(self) -> dict[str, Any]:
        memory = self.postgres.memory
        own = {
            "shared_buffers": f"{memory // 4}MB",
            "effective_cache_size": f"{memory // 2}MB",
            "password_encryption": "scram-sha-256",
            "max_connections": 100,
            **KEEPALIVES,
            **REPLICATION_TIMEOUTS,
            **MOST_KEPT,
            **pgbackrest.parameters(self.postgres),
        }
        return own | dict(self.postgres.parameters)

    def _admission(self) -> Iterable[str]:
        """Lines of pg_hba.conf: who may connect from where. No superuser comes by the network.

        Roles come by HAProxy alone, which ends their connections to a primary that no longer is one.
        """
        yield f"local all {SUPERUSER} peer"
        for member in self.postgres.members(POSTGRES):
            yield f"host replication {REPLICATION} {member.address}/32 scram-sha-256"
            yield f"host all {REWIND} {member.address}/32 scram-sha-256"
        yield f"host all {SUPERUSER},{REPLICATION},{REWIND} all reject"
        for proxy in self.postgres.proxies:
            yield f"host all all {proxy.address}/32 scram-sha-256"

    def _wanted(self) -> dict[str, Any]:
        """What the member's own program sees to, beside Patroni."""
        return {
            "members": list(self.postgres.nodes),
            "api": {"username": API, "password": self.passwords[API]},
            "dynamic": self._dynamic(),
            "own_roles": {name: self.passwords[name] for name in (REPLICATION, REWIND)},
            "roles": {name: self.passwords[name] for name in self.postgres.roles},
            "databases": {one.name: one.owner for one in self.postgres.databases},
        }

    # --- etcd (etcd 3.5, Configuration options)

    def _etcd(self, place: Place) -> dict[str, Any]:
        members = self.postgres.members(ETCD)
        client, peer = f"https://{place.address}:{ETCD_PORT}", f"https://{place.address}:{ETCD_PEER_PORT}"
        shown = {
            "cert-file": f"{RUN}/{CERTIFICATE}",
            "key-file": f"{RUN}/{KEY}",
            "trusted-ca-file": f"{RUN}/{AUTHORITY}",
        }
        security = {**shown, "client-cert-auth": True}
        return {
            "name": place.node,
            "data-dir": ETCD_DATA,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"{one.node}=https://{one.address}:{ETCD_PEER_PORT}" for one in members),
            "initial-cluster-token": self.name,
            "client-transport-security": security,
            "peer-transport-security": security,
            "heartbeat-interval": ETCD_HEARTBEAT,
            "election-timeout": ETCD_ELECTION,
            "listen-metrics-urls": f"http://{place.address}:{METRICS_PORTS[ETCD]}",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "1h",
            "log-level": "warn",
        }

    def _company(self, place: Place) -> dict[str, Any]:
        """Where etcd is, the others, and the PostgreSQL beside it."""
        urls = {one.name: f"https://{one.address}:{ETCD_PORT}" for one in self.postgres.members(ETCD)}
        beside = self.postgres.place(POSTGRES, place.node)
        return {
            "etcd": urls.pop(place.name),
            "others": list(urls.values()),
            "api": f"http://{beside.address}:{API_PORT}",
        }

    # --- HAProxy (HAProxy 3.0, Configuration Manual)

    def _haproxy(self, place: Place) -> str:
        connections = 10 * int(self._parameters()["max_connections"])
        return f"""\
global
    maxconn {connections}
    hard-stop-after 1m
defaults
    mode tcp
    maxconn {connections}
    timeout connect 3s
    timeout client 24h
    timeout server 24h
    timeout check 1s
    option clitcpka
    option srvtcpka
    option httpchk
    http-check expect status 200
    default-server port {API_PORT} inter {self._interval()}ms fall 3 rise 1 on-marked-down shutdown-sessions
{self._listen(place, "primary", PRIMARY_PORT)}\
{self._listen(place, "replica", REPLICA_PORT)}\
frontend metrics
    mode http
    bind {place.address}:{METRICS_PORTS[HAPROXY]}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""

    def _interval(self) -> int:
        """Milliseconds from one question to the next: every client asks every member twice."""
        return max(500, 50 * len(self.postgres.clients))

    def _listen(self, place: Place, role: str, port: int) -> str:
        servers = "".join(
            f"    server {one.node} {one.address}:{POSTGRES_PORT} check\n" for one in self.postgres.members(POSTGRES)
        )
        return f"listen {role}\n    bind {place.address}:{port}\n    http-check send meth HEAD uri /{role}\n{servers}"


def _initdb() -> list[str | dict[str, str]]:
    """Collation by PostgreSQL itself, so that another C library sorts no index anew."""
    texts = {"encoding": "UTF8", "locale-provider": "builtin", "locale": "C.UTF-8", "auth-local": "peer"}
    return ["data-checksums", {"auth-host": "scram-sha-256"}, *({key: text} for key, text in texts.items())]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
