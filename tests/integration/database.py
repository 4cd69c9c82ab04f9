"""A PostgreSQL cluster from outside, and a writer that remembers every row it was told is safe."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from threading import Event
from typing import Any

from docker.errors import APIError
from docker.models.containers import Container

from tests.integration.hosts import Hosts, eventually

IDENTITY = (("cacert", "authority", "pem"), ("cert", "member", "pem"), ("key", "member", "key"))
READY_SECONDS = 90
# One row after another, each with a number of its own; in /tmp/acknowledged the number and the time of each that
# PostgreSQL said is committed. Whatever goes wrong, it connects anew and goes on with the next number.
WRITER = """\
import os, sys, time, psycopg2
from pathlib import Path
host, number, connection = sys.argv[1], int(time.time() * 1000000), None
with open("/tmp/acknowledged", "w", buffering=1) as known:
    while not Path("/tmp/stop").exists():
        try:
            if connection is None:
                connection = psycopg2.connect(host=host, port=5000, user="app", dbname="app", connect_timeout=2,
                                              password=os.environ["PASSWORD"])
                connection.autocommit = True
                cursor = connection.cursor()
            number += 1
            cursor.execute("INSERT INTO written VALUES (%s)", (number,))
            known.write(f"{number} {time.monotonic()}\\n")
            time.sleep(0.01)
        except psycopg2.Error as error:
            print(error, flush=True)
            if connection:
                connection.close()
            connection = None
            time.sleep(0.1)
"""
ASK = """\
import json, os, sys, psycopg2
connection = psycopg2.connect(host=sys.argv[1], port=int(sys.argv[2]), user="app", dbname="app", connect_timeout=5,
                              password=os.environ["PASSWORD"])
connection.autocommit = True
cursor = connection.cursor()
cursor.execute(sys.argv[3])
print(json.dumps(cursor.fetchall() if cursor.description else None, default=str))
"""
LOOK = """\
import sys, urllib.request as request
print(request.urlopen(f"http://{sys.argv[1]}:8008/patroni", timeout=5).read().decode())
"""


@dataclass
class Writing:
    """What a writer was told."""

    acknowledged: dict[int, float] = field(default_factory=dict)
    """When, by the row's number; seconds of a clock that nobody sets."""

    @property
    def gap(self) -> float:
        """The longest time without a commit, in seconds."""
        times = sorted(self.acknowledged.values())
        return max((later - earlier for earlier, later in pairwise(times)), default=0)


@dataclass
class Database:
    """The cluster of a mesh, seen from the workload `client`, which has the image of its members."""

    hosts: Hosts
    prefix: str
    nodes: tuple[str, ...]
    client: str
    client_node: str
    password: str = field(repr=False)

    def at(self, node: str) -> "Database":
        """The same, seen from the HAProxy of a node."""
        return replace(self, client=f"{self.prefix}-haproxy-{node}", client_node=node)

    def container(self, kind: str, node: str) -> Container:
        """A container of the cluster as it is now."""
        return self.hosts.get(f"{self.prefix}-{kind}-{node}")

    def in_member(self, node: str, *command: str) -> str:
        """Output of a command at a member, as an operator runs it: as the user of PostgreSQL."""
        result = self.container("postgres", node).exec_run(list(command), user="postgres")
        assert result.exit_code == 0, result.output
        return str(result.output.decode())

    def ask(self, statement: str, port: int = 5000, node: str | None = None) -> Any:
        """Rows of a statement by HAProxy; fails when nobody answers."""
        host = f"haproxy-{node or self.client_node}"
        status, output = self._python(ASK, host, str(port), statement)
        assert status == 0, output
        return json.loads(output)

    def states(self) -> dict[str, Mapping[str, Any]]:
        """What each member says of itself, by its node; who does not answer is not there."""
        return {node: state for node in self.nodes if (state := self._state(node))}

    def _state(self, node: str) -> Mapping[str, Any] | None:
        try:
            return self._told(node)
        except APIError:  # its container is being replaced, or ends meanwhile
            return None

    def _told(self, node: str) -> Mapping[str, Any] | None:
        """Asked in its own container, because nobody else may reach it."""
        container = self.container("postgres", node)
        if container.status != "running":
            return None
        (network,) = container.attrs["NetworkSettings"]["Networks"].values()
        status, output = self.hosts.run(container.name, "python3", "-c", LOOK, network["IPAddress"])
        return dict(json.loads(output)) if status == 0 and output else None  # the engine may return before it has read

    def primary(self) -> str:
        """The node of the primary; fails when there is none, or more than one. Who is about to stop is none."""
        (primary,) = [node for node, state in self.states().items() if _is_primary(state)]
        return primary

    def is_well(self) -> bool:
        """One primary, and all others stream from it on the same timeline and count for commits."""
        states = self.states().values()
        primaries = [one for one in states if _is_primary(one)]
        standbys = [one for one in states if one.get("replication_state") == "streaming" and one.get("quorum_standby")]
        same = {one.get("timeline") for one in states}
        return (len(primaries), len(standbys), len(same)) == (1, len(self.nodes) - 1, 1)

    def await_well(self, seconds: float = READY_SECONDS) -> float:
        """Wait until the cluster is as it should be."""
        return eventually(self.is_well, seconds, "one primary, all others stream")

    @contextmanager
    def written(self) -> Iterator[Writing]:
        """Write while something happens, go on until the cluster is well; no acknowledged row is lost."""
        self.await_well()
        self.ask("CREATE TABLE IF NOT EXISTS written (number bigint PRIMARY KEY)")
        self.hosts.out(self.client, "rm", "-f", "/tmp/stop", "/tmp/acknowledged")
        command = ["python3", "-c", WRITER, f"haproxy-{self.client_node}"]
        self.hosts.get(self.client).exec_run(command, environment={"PASSWORD": self.password}, detach=True)
        eventually(lambda: len(self._acknowledged()) > 20, 20, "rows are written")
        writing = Writing()
        try:
            yield writing
            self.await_well()
            count = len(self._acknowledged())
            eventually(lambda: len(self._acknowledged()) > count + 20, 20, "rows are written again")
        finally:
            self.hosts.out(self.client, "touch", "/tmp/stop")
        time.sleep(1)
        writing.acknowledged = self._acknowledged()
        there = {number for (number,) in self.ask("SELECT number FROM written")}
        assert writing.acknowledged.keys() <= there, sorted(writing.acknowledged.keys() - there)

    def rows_go_on(self, seconds: float) -> float:
        """Wait until a row is acknowledged that was not yet begun."""
        now = max(self._acknowledged()) + 2  # one may have been on its way
        return eventually(lambda: max(self._acknowledged()) > now, seconds, "rows are written again")

    def etcd_leader(self) -> str:
        """The node of the etcd that leads the others, as they agree."""
        names = {}
        for node in self.nodes:
            options = [f"--{name}=/etc/cluster/{file}.{kind}" for name, file, kind in IDENTITY]
            command = ("etcdctl", f"--endpoints=etcd-{node}:2379", *options, "-w", "json", "endpoint", "status")
            (found,) = json.loads(self.hosts.out(f"{self.prefix}-etcd-{node}", *command))
            names[found["Status"]["header"]["member_id"]] = node
            leader = found["Status"]["leader"]
        return names[leader]

    @contextmanager
    def never_two_away(self) -> Iterator[None]:
        """At no moment that is looked at, two PostgreSQLs do not run; at some moment one does not."""
        least, done = len(self.nodes), Event()

        def look() -> int:
            fewest = least
            while not done.is_set():
                running = [one for one in self.states().values() if one["state"] == "running"]
                fewest = min(fewest, len(running))
            return fewest

        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                yield
            finally:
                done.set()
            assert looking.result() == len(self.nodes) - 1

    def kill_process(self, node: str, name: str) -> None:
        """kill -9 of a process of a member: a postmaster, or Patroni."""
        pids = self._pids(node, name)
        os.kill(pids[0], signal.SIGKILL)
        eventually(lambda: pids[0] not in self._pids(node, name), 10, f"{name} is dead")

    def _pids(self, node: str, name: str) -> list[int]:
        try:
            top = self.container("postgres", node).top(ps_args="-eo pid,args")["Processes"]
        except APIError:  # its container ended with it
            return []
        return [int(pid) for pid, arguments in top if name in arguments]

    def _acknowledged(self) -> dict[int, float]:
        output = ""
        while not output.endswith("end\n"):  # the engine may return before it has read all
            _, output = self.hosts.run(self.client, "sh", "-c", "cat /tmp/acknowledged; echo end")
        lines = [line.split() for line in output.splitlines() if line.count(" ") == 1]
        return {int(number): float(at) for number, at in lines}

    def _python(self, program: str, *arguments: str) -> tuple[int, str]:
        secret = {"PASSWORD": self.password}
        while True:
            result = self.hosts.get(self.client).exec_run(["python3", "-c", program, *arguments], environment=secret)
            if result.output:  # else the engine returned before it had read what every program here prints
                return int(result.exit_code), result.output.decode()


def _is_primary(state: Mapping[str, Any]) -> bool:
    return (state["role"], state["state"]) == ("primary", "running")
