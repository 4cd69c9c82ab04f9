"""To whom config is brought: the carriers of Docker hosts, and the keepers in confidential VMs.

A carrier is asked in its container instead of by a health check: Docker and the provider would look at that once a
second, could not tell who is missing, and would not look at all when a carrier is not replaced.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import pulumi

from vpn import keepers
from vpn.components.delivery import Steps
from vpn.engines import Engine, connected
from vpn.model.hosts import Host
from vpn.model.ingress import Ingress

LOOK_SECONDS = 0.5  # between two questions to a VM
DAY = 86_400_000  # milliseconds


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """The config carrier of a host."""

    host: Host
    container: str

    @property
    def name(self) -> str:
        """For people."""
        return self.host.name

    @contextmanager
    def reached(self, seconds: float) -> Iterator[Steps]:
        """Speak with its engine."""
        with connected(self.host, seconds) as engine:
            yield _CarrierSteps(engine, self)


@dataclass(frozen=True)
class _CarrierSteps:
    engine: Engine
    carrier: Carrier

    def deliver(self, seconds: int) -> str:
        return self._run("delivered", str(seconds))

    def confirm(self, seconds: int, moment: int) -> str:
        return self._run("confirm", str(seconds), str(moment))

    def _run(self, *arguments: str) -> str:
        """Run a command of the carrier; what it said last when it failed, else nothing."""
        said = ""
        call = self.engine.exec_create(self.carrier.container, ["carrier", *arguments])["Id"]
        for said in _lines(self.engine.exec_start(call, stream=True)):
            pulumi.log.info(f"{self.carrier.name}: {said}", ephemeral=True)
        status = self.engine.exec_inspect(call)["ExitCode"]
        return "" if status == 0 else said or f"the config carrier ended with status {status}"


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    for chunk in chunks:
        yield from chunk.decode(errors="replace").splitlines()


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """The keeper of a node in a confidential VM."""

    name: str
    ingress: Ingress
    order: Callable[[int, int], str] = field(repr=False)
    """Signs an order with a serial and a moment."""

    def reached(self, _: float) -> AbstractContextManager[Steps]:
        """Every step is a connection of its own."""
        return nullcontext(self)

    def deliver(self, _: int) -> str:
        """Give the order. Raises KeeperError."""
        self._give(0)
        return ""

    def confirm(self, seconds: int, moment: int) -> str:
        """Give it again with a moment, and look until it is applied. Raises KeeperError."""
        serial, state = self._give(moment)
        deadline = time.monotonic() + seconds
        while state.missing and state.serial == serial and time.monotonic() < deadline:
            pulumi.log.info(f"{self.name}: waiting for: {' '.join(state.missing)}", ephemeral=True)
            time.sleep(LOOK_SECONDS)
            state = keepers.state(self.ingress)
        if state.serial != serial:
            return f"has order {state.serial} instead of {serial}: somebody else gave one, or this is another instance"
        return f"waiting for: {' '.join(state.missing)}" if state.missing else ""

    def _give(self, moment: int) -> tuple[int, keepers.State]:
        """Its serial, and how far it is applied."""
        serial = _later_than(keepers.state(self.ingress).serial)
        return serial, keepers.give(self.ingress, self.order(serial, moment))


def _later_than(serial: int) -> int:
    """By the clock; after the last one also if that was set back, but a stranger's word is believed for a day."""
    now = time.time_ns() // 1_000_000
    return max(now, serial + 1) if serial < now + DAY else now
