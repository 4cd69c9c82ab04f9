"""Waits until every node, relay and gate has applied what the config carriers brought, and says who has not.

The carriers are asked in their containers instead of by a health check: Docker and the provider would look at that once
a second, could not tell who is missing, and would not look at all when a carrier is not replaced.

Here is also where all hosts are told one moment, when nodes go over to new keys: no carrier knows of another.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from threading import Barrier, BrokenBarrierError

import pulumi

import docker
from vpn.engines import Engine, connected
from vpn.model.hosts import Host

WAIT_SECONDS = 60
WAIT_SECONDS_EACH = 4  # fifty nodes that start at once on two cores need minutes
SWITCH_SECONDS, SWITCH_SECONDS_EACH, SWITCH_MOST = 2, 0.05, 12  # until all have read what was delivered
SWITCH_SECONDS_APART = 1  # more when engines are elsewhere
FIX = "`docker exec <node> health` says why; mend that, then `pulumi up`"


async def until_applied(carriers: Mapping[Host, str], readers: int) -> bool:
    """Wait until those, so many, that the hosts' carriers serve have applied their config; true in the end.

    A preview asks nobody. Raises pulumi.RunError naming those that did not in time.
    """
    if pulumi.runtime.is_dry_run():
        return True
    turn = _Turn(len(carriers), readers)
    tasks = [asyncio.to_thread(turn.complaint, host, carrier) for host, carrier in carriers.items()]
    complaints = [complaint for complaint in await asyncio.gather(*tasks) if complaint]
    if complaints:
        told, seconds = "; ".join(complaints), turn.seconds
        raise pulumi.RunError(f"the config was not applied by every node within {seconds} s; {told}\n    fix: {FIX}")
    return True


class _Turn:
    """Asks all hosts at once: first whether everything is delivered, and only then names a moment for new keys."""

    def __init__(self, hosts: int, readers: int) -> None:
        self.seconds = WAIT_SECONDS + WAIT_SECONDS_EACH * readers
        apart = SWITCH_SECONDS_APART if hosts > 1 else 0
        self._wait = min(SWITCH_SECONDS + SWITCH_SECONDS_EACH * readers, SWITCH_MOST) + apart
        self._all_delivered = Barrier(hosts, self._name_moment)
        self._moment = 0

    def _name_moment(self) -> None:
        self._moment = round((time.time() + self._wait) * 1000)

    def complaint(self, host: Host, carrier: str) -> str:
        """Who of a host is missing in the end, or why nobody knows; empty if all is well."""
        try:
            with connected(host, self.seconds + WAIT_SECONDS) as engine:
                said = self._ask(engine, host, carrier)
        except (docker.errors.DockerException, OSError) as error:
            said = str(error)
        except BrokenBarrierError:
            said = "waited for another host"
        if said:
            self._all_delivered.abort()
        return f"{host.name}: {said}" if said else ""

    def _ask(self, engine: Engine, host: Host, carrier: str) -> str:
        failed = _run(engine, host, carrier, "delivered", str(self.seconds))
        if failed:
            return failed
        self._all_delivered.wait(self.seconds)
        return _run(engine, host, carrier, "confirm", str(self.seconds), str(self._moment))


def _run(engine: Engine, host: Host, carrier: str, *arguments: str) -> str:
    """Run a command of the carrier; what it said last when it failed, else nothing."""
    said = ""
    call = engine.exec_create(carrier, ["carrier", *arguments])["Id"]
    for said in _lines(engine.exec_start(call, stream=True)):
        pulumi.log.info(f"{host.name}: {said}", ephemeral=True)
    status = engine.exec_inspect(call)["ExitCode"]
    return "" if status == 0 else said or f"the config carrier ended with status {status}"


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    for chunk in chunks:
        yield from chunk.decode(errors="replace").splitlines()
