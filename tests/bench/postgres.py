"""The PostgreSQL cluster: what the mesh costs it, and whether it outlives minutes of random faults."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import docker
from tests.bench.engine import PREFIX, execute, inspect
from tests.bench.plain_cluster import PASSWORD, running
from tests.bench.shell import say
from tests.bench.stack import Stack, config
from tests.bench.table import Row, Target
from tests.integration.database import Database
from tests.integration.hosts import Hosts, eventually

MEMBERS = ("node-1", "node-2", "node-3")
CLIENT_NODE, CLIENT = "node-4", f"{PREFIX}-client"
CLUSTER: dict[str, Any] = {
    "nodes": list(MEMBERS),
    "protect": False,
    "roles": [{"name": "app"}],
    "databases": [{"name": "app", "owner": "app"}],
}
WORKLOAD = {"name": CLIENT, "node": CLIENT_NODE, "build": "docker/postgres", "command": ["sleep", "infinity"]}
PGBENCH = "/usr/lib/postgresql/17/bin/pgbench"
SCALE, CLIENTS = "10", "8"
WARM_UP_SECONDS = 5
READY_SECONDS = 120
LONGEST_GAP = 45  # seconds: a second fault may come while the cluster is not yet what it was before the first


def measure(stack: Stack, rounds: int, duration: int, faults: int) -> list[Row]:
    """Bring up both clusters, compare them in turn, then harm the one of the mesh, in the end for so many seconds."""
    stack.configure(config(4, [WORKLOAD]) | {"postgres": CLUSTER})
    stack.up()
    try:
        database = _database(stack)
        throughput = _throughput(stack, database, rounds, 5 * duration)
        return [throughput, _failover(database, rounds), *(_faults(database, faults) if faults else [])]
    finally:
        stack.destroy()


def _database(stack: Stack) -> Database:
    password = stack.outputs()["postgresPasswords"]["app"]
    hosts = Hosts(docker.from_env())
    return Database(hosts, PREFIX, MEMBERS, client=CLIENT, client_node=CLIENT_NODE, password=password)


# --- what the mesh costs


def _throughput(stack: Stack, database: Database, rounds: int, seconds: int) -> Row:
    cluster = stack.topology.postgres
    assert cluster
    image = inspect("container", CLIENT)["Image"]
    with running(cluster, image) as client:
        ways = {
            "mesh": (CLIENT, f"haproxy-{CLIENT_NODE}", database.password),
            "bridge": (client, "172.28.0.252", PASSWORD),
        }
        for way in ways.values():
            eventually(lambda way=way: _prepared(*way), READY_SECONDS, "pgbench's tables are made")  # type: ignore[misc]
            _pgbench(*way, "-c", CLIENTS, "-T", str(WARM_UP_SECONDS))
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name in sorted(ways, reverse=number % 2 == 1):
                found[name].append(_rate(_pgbench(*ways[name], "-c", CLIENTS, "-j", "2", "-T", str(seconds))))
                say(f"postgres, {number + 1} of {rounds}: {name}: {found[name][-1]:.0f} transactions/s")
    values: dict[str, Any] = {"samples": found["mesh"], "reference": found["bridge"]}
    return Row(name=f"pgbench, {CLIENTS} clients, over the mesh", unit="tx/s", against="plain bridge", **values)


def _prepared(container: str, host: str, password: str) -> bool:
    try:
        _pgbench(container, host, password, "-i", "-q", "-s", SCALE)
    except Exception as error:  # noqa: BLE001 (it is not up yet)
        say(f"not yet: {str(error).strip().splitlines()[-1]}")
        time.sleep(2)
        return False
    return True


def _pgbench(container: str, host: str, password: str, *options: str) -> str:
    command = ("env", f"PGPASSWORD={password}", PGBENCH, "-h", host, "-p", "5000", "-U", "app", *options, "app")
    return execute(container, *command, timeout=300)


def _rate(said: str) -> float:
    return next(float(line.split()[2]) for line in said.splitlines() if line.startswith("tps ="))


# --- the node of the primary is lost


def _failover(database: Database, rounds: int) -> Row:
    gaps = []
    for number in range(rounds):
        with database.written() as writing:
            primary = database.primary()
            time.sleep(random.uniform(0, 10))
            database.hosts.get(f"{database.prefix}-{primary}").kill()
            database.rows_go_on(READY_SECONDS)
            database.hosts.get(f"{database.prefix}-{primary}").start()
        gaps.append(writing.gap)
        say(f"postgres, {number + 1} of {rounds}: the primary's node is killed: {gaps[-1]:.1f} s without a commit")
    return Row(name="primary's node killed: without a commit", unit="s", samples=gaps, target=Target(limit=20))


# --- random faults


def _faults(database: Database, seconds: int) -> list[Row]:
    """One fault after another; `written` fails when a row is lost or the cluster does not become well."""
    seed = int.from_bytes(os.urandom(4))
    chance, count, end = random.Random(seed), 0, time.monotonic() + seconds
    say(f"postgres: random faults for {seconds} s, seed {seed}")
    with database.written() as writing:
        while time.monotonic() < end:
            fault, node = chance.choice(FAULTS), chance.choice(MEMBERS)
            say(f"postgres: {fault.__name__} at {node}")
            fault(database, node, chance.uniform(1, 25))
            count += 1
            database.rows_go_on(READY_SECONDS)
            took = database.await_well(READY_SECONDS)
            say(f"postgres: well after {took:.0f} s")
    gap = Target(limit=LONGEST_GAP)
    name = f"{count} random faults in {seconds} s"
    return [
        Row(name=f"{name}: rows acknowledged, none lost", unit="rows", samples=[len(writing.acknowledged)]),
        Row(name=f"{name}: longest time without a commit", unit="s", samples=[writing.gap], target=gap),
    ]


def kill_postgresql(database: Database, node: str, _: float) -> None:
    """kill -9 of a postmaster."""
    database.kill_process(node, "/usr/lib/postgresql/17/bin/postgres")


def kill_patroni(database: Database, node: str, _: float) -> None:
    """kill -9 of a Patroni, and with it of its container."""
    database.kill_process(node, "/usr/bin/patroni")


def pause_postgresql(database: Database, node: str, seconds: float) -> None:
    """A machine that stalls."""
    container = database.container("postgres", node)
    container.pause()
    time.sleep(seconds)
    container.unpause()


def _stopped(name: Callable[[Database, str], str]) -> Callable[[Database, str, float], None]:
    def fault(database: Database, node: str, seconds: float) -> None:
        container = database.hosts.get(name(database, node))
        container.kill(signal.SIGKILL)
        time.sleep(seconds)
        container.start()

    return fault


kill_member = _stopped(lambda database, node: f"{database.prefix}-postgres-{node}")
kill_etcd = _stopped(lambda database, node: f"{database.prefix}-etcd-{node}")
kill_node = _stopped(lambda database, node: f"{database.prefix}-{node}")
for one, name in ((kill_member, "kill_member"), (kill_etcd, "kill_etcd"), (kill_node, "kill_node")):
    one.__name__ = name
FAULTS = (kill_postgresql, kill_patroni, pause_postgresql, kill_member, kill_etcd, kill_node)
