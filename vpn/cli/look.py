"""Sees how a running mesh is, with as few questions as there can be: three a host, however many nodes it has.

What can be long ago is not: containers are listed by their engine now, nodes are asked by their config carrier.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import docker
from vpn.cli.failure import CliError
from vpn.engines import Engine, connected
from vpn.keepers import KeeperError, state
from vpn.model import report
from vpn.model.facts import DatabaseFacts, Facts, GuestFacts, HostFacts, Member, Outputs, Seen
from vpn.model.hosts import DOCKER, Host
from vpn.model.ingress import Ingress, Tls
from vpn.model.untrusted import shown
from vpn.outputs import NODE

T = TypeVar("T")
SECONDS = 15  # for an answer of an engine
AT_ONCE = 32  # hosts, and questions to one
LABEL = "dstack-vpn.mesh"
PROBE_LABEL = "dstack-vpn.probe"
OUTPUTS_FIX = "run `pulumi up` once with this version"
NEEDED = ("nodes", "hosts", "containers", "guests", "links", "mesh", "tests")
# Of a gate's own tools: what it says of its last look, and whom it lets in.
MEMBERS = "# members\n"
# Token, key, address and owner (docker/gate, board).
GATE = 'health; echo "# members"; tail -n +2 /members/members'
LEADER = "leader"  # of Patroni's members: who holds the lock, and so is the primary (Patroni 4.0, REST API, /cluster)
MEMBER = re.compile(r"^([0-9]+) ([A-Za-z0-9+/]{43}=) ([0-9.]+) (0x[0-9A-Fa-f]{40})$", re.MULTILINE)


def hosts(outputs: Outputs) -> dict[str, Host]:
    """The hosts with an engine of ours, by name. Raises CliError when these are no outputs of a mesh."""
    missing = [name for name in NEEDED if not isinstance(outputs, Mapping) or name not in outputs]
    if missing:
        raise CliError(f"the outputs have no {', '.join(missing)}", fix=OUTPUTS_FIX)
    return {
        name: Host(name=name, docker=one["docker"], certificates=one["certificates"])
        for name, one in outputs["hosts"].items()
        if one["kind"] == DOCKER
    }


def facts(outputs: Outputs) -> Facts:
    """All that is to be seen; what does not answer is said to be so. Raises CliError."""
    engines, guests = hosts(outputs), outputs["guests"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        of_hosts = {name: pool.submit(_host, outputs, host) for name, host in engines.items()}
        of_guests = {name: pool.submit(_guest, guest["keeper"]) for name, guest in guests.items() if guest["admitted"]}
        return Facts(hosts=_results(of_hosts), guests=_results(of_guests))


def _results(futures: Mapping[str, Future[T]]) -> dict[str, T]:
    return {name: future.result() for name, future in futures.items()}


def _guest(keeper: Mapping[str, Any]) -> GuestFacts:
    tls = Tls(**keeper["tls"]) if keeper["tls"] else None
    try:
        told = state(Ingress(endpoint=keeper["endpoint"], tls=tls), patience=0)
    except KeeperError as error:
        return GuestFacts(complaint=str(error))
    return GuestFacts(serial=told.serial, missing=told.missing)


def _host(outputs: Outputs, host: Host) -> HostFacts:
    try:
        with connected(host, SECONDS) as engine:
            return _Look(engine, [one for one in outputs["containers"] if one["host"] == host.name], outputs).host()
    except (docker.errors.DockerException, OSError) as error:
        return HostFacts(complaint=shown(str(error)))


@dataclass(frozen=True)
class _Look:
    engine: Engine
    entries: Sequence[Mapping[str, Any]]
    outputs: Outputs

    def host(self) -> HostFacts:
        seen = containers(self.engine, self.outputs["mesh"], [one["container"] for one in self.entries])
        running = {one["name"]: one for one in self.entries if is_running(seen, one)}
        nodes = [name for name, one in running.items() if one["kind"] == NODE]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            carrier = self._ask(pool, running, "config", partial(self._report, nodes))
            gate = self._ask(pool, running, "gate", self._gate)
            databases = {
                name: pool.submit(self._database, one["container"])
                for name, one in running.items()
                if one["kind"] == "postgres"
            }
            told, complaint, skew = carrier.result() if carrier else (None, "its config carrier does not run", 0.0)
            said, members = gate.result() if gate else ("", ())
            return HostFacts(
                skew=skew,
                containers=seen,
                report=told,
                report_complaint=complaint,
                members=members,
                gate=said,
                databases=_results(databases),
            )

    def _ask(
        self, pool: ThreadPoolExecutor, running: Mapping[str, Any], name: str, ask: Callable[[str], T]
    ) -> Future[T] | None:
        return pool.submit(ask, running[name]["container"]) if name in running else None

    def _report(self, nodes: Sequence[str], container: str) -> tuple[report.HostReport | None, str, float]:
        """What the carrier knows, or why there is none, and how far, at least, the host's clock is ahead of ours."""
        asked = time.time()
        status, text = run(self.engine, container, "carrier", "report", *nodes)
        answered = time.time()
        try:
            told = report.parse(text)
        except ValueError as error:
            reason = shown(text[:200]) or str(error) if status else str(error)
            return None, f"its config carrier tells nothing: {reason}", 0.0
        return told, "", skew(told.clock, asked, answered)

    def _gate(self, container: str) -> tuple[str, tuple[Member, ...]]:
        """What it says of its last look, which may be words of its endpoint, and whom it lets in."""
        return told_by_gate(run(self.engine, container, "sh", "-c", GATE)[1])

    def _database(self, container: str) -> DatabaseFacts:
        return told_by_member(run(self.engine, container, "member", "state")[1])


def told_by_member(text: str) -> DatabaseFacts:
    """What a member of the PostgreSQL cluster says of itself and, by Patroni's word, of the others."""
    try:
        told = json.loads(text)
        members = told.get("members", [])
        return DatabaseFacts(
            complaint=shown(str(told["complaint"])),
            role=shown(str(told.get("role") or "")),
            state=shown(str(told.get("state") or "")),
            leader=next((str(one["name"]) for one in members if one["role"] == LEADER), ""),
            lags={one["name"]: _bytes(one["lag"]) for one in members},
        )
    except (LookupError, TypeError, ValueError):
        return DatabaseFacts(complaint=f"tells nothing: {shown(text[:200])}")


def told_by_gate(text: str) -> tuple[str, tuple[Member, ...]]:
    """Its last look, in words that may be its endpoint's, and the members, who are behind the last mark."""
    words, mark, rows = text.rpartition(MEMBERS)
    return shown((words if mark else rows).strip()), tuple(map(_member, MEMBER.findall(rows if mark else "")))


def skew(clock: float, asked: float, answered: float) -> float:
    """Seconds by which a clock is ahead, at least; negative when it is behind. Nobody knows when it was looked at."""
    return max(clock - answered, 0.0) or min(clock - asked, 0.0)


def _member(row: tuple[str, str, str, str]) -> Member:
    return Member(token=int(row[0]), key=row[1], address=row[2], owner=row[3])


def _bytes(lag: object) -> int | None:
    """Patroni says a word when it does not know."""
    return lag if isinstance(lag, int) else None


def containers(engine: Engine, mesh: str, names: Sequence[str]) -> dict[str, Seen]:
    """The containers of a mesh, by name; also one that somebody made anew by hand."""
    by_label = engine.containers(all=True, filters={"label": f"{LABEL}={mesh}"})
    found = {_name(one): Seen(state=one["State"], status=one["Status"]) for one in by_label}
    missing = [name for name in names if name not in found]
    if missing:
        others = engine.containers(all=True, filters={"name": [f"^/{name}$" for name in missing]})
        found |= {_name(one): Seen(state=one["State"], status=one["Status"]) for one in others}
    return found


def is_running(seen: Mapping[str, Seen], entry: Mapping[str, Any]) -> bool:
    """Whether there is somebody to ask."""
    one = seen.get(entry["container"])
    return one is not None and one.state == "running"


def _name(listed: Mapping[str, Any]) -> str:
    return str(listed["Names"][0]).removeprefix("/")


def run(engine: Engine, container: str, *command: str, seconds: int = SECONDS) -> tuple[int, str]:
    """Exit status and output of a command in a container; 1 and why, when the engine does not run it.

    It is ended there when it takes too long: no time-out of the engine's API holds while output is awaited.
    """
    try:
        call = engine.exec_create(container, ["timeout", "--signal=KILL", str(seconds), *command])["Id"]
        output = engine.exec_start(call).decode(errors="replace")
        return int(engine.exec_inspect(call)["ExitCode"] or 0), output
    except docker.errors.APIError as error:
        return 1, str(error.explanation or error)


def run_beside(engine: Engine, container: str, tools: str, *command: str) -> str:
    """Output of a command in the network of a container, which may have no tools, with the image of one that has."""
    image = engine.inspect_container(tools)["Image"]
    settings = engine.create_host_config(network_mode=f"container:{container}", cap_drop=["ALL"], read_only=True)
    bounded = ["timeout", "--signal=KILL", str(SECONDS), *command]
    made = engine.create_container(image, bounded, host_config=settings, labels=[PROBE_LABEL])["Id"]
    try:
        engine.start(made)
        engine.wait(made)
        return str(engine.logs(made).decode(errors="replace"))
    finally:
        engine.remove_container(made, force=True)
