"""Never two at once: members of a cluster are replaced one after another, and the primary last.

What can be asked only of the containers themselves is asked there, as the delivery asks the config carriers.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pulumi

import docker
from vpn.engines import connected
from vpn.model.hosts import Host

BACK_SECONDS = 300  # a member that was away may have to copy all data
ANSWER_SECONDS = 15
RESTARTS = 10  # of a container: whatever it waits for, it will not come
TICK = 0.5
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Member:
    """A container of a cluster, which may not be there yet."""

    container: str
    host: Host

    def await_well(self, seconds: float) -> str:
        """Wait until it is one of the cluster; what is wrong with it, if it does not become it."""
        deadline = time.monotonic() + seconds
        while complaint := self._complaint(deadline):
            if time.monotonic() > deadline or self._inspect().get("RestartCount", 0) >= RESTARTS:
                return complaint
            time.sleep(TICK)
        return ""

    def rank(self) -> int:
        """When to replace it: 0 if it is not well, and so nothing is lost with it, 2 if it is the primary."""
        if self._run("is-primary", seconds=ANSWER_SECONDS)[0] == 0:
            return 2
        return 0 if self._run("health", seconds=ANSWER_SECONDS)[0] else 1

    def differs(self, image: str, memory: int) -> bool:
        """Whether it is there with another image, or other memory in MiB, and so about to be replaced."""
        found = self._inspect()
        return bool(found) and (found["Image"], found["HostConfig"]["Memory"]) != (image, memory * MIB)

    def _complaint(self, deadline: float) -> str:
        seconds = max(0, round(deadline - time.monotonic()))
        status, said = self._run("await", str(seconds), seconds=seconds + ANSWER_SECONDS)
        return said or f"ended with status {status}" if status else ""

    def _run(self, *command: str, seconds: float) -> tuple[int, str]:
        """Exit status and output of its program; -1 when the container does not run."""
        try:
            with connected(self.host, seconds) as engine:
                call = engine.exec_create(self.container, ["member", *command])["Id"]
                said = engine.exec_start(call).decode(errors="replace").strip()
                return int(engine.exec_inspect(call)["ExitCode"]), said
        except (docker.errors.DockerException, OSError) as error:
            return -1, str(error)

    def _inspect(self) -> Mapping[str, Any]:
        """What the engine knows of it; nothing when it does not answer, or has none."""
        try:
            with connected(self.host, ANSWER_SECONDS) as engine:
                return dict(engine.inspect_container(self.container))
        except (docker.errors.DockerException, OSError):
            return {}


def in_turn(members: Sequence[Member]) -> list[Member]:
    """In the order in which to replace them: who is not well, then who is, and the primary last."""
    if pulumi.runtime.is_dry_run() or not members:
        return list(members)
    with ThreadPoolExecutor(len(members)) as pool:
        ranks = dict(zip(members, pool.map(Member.rank, members), strict=True))
    return sorted(members, key=lambda member: ranks[member])


def spared(image: pulumi.Input[str], memory: int, member: Member, others: Sequence[Member]) -> pulumi.Output[str]:
    """The image of a member; an error instead if it is well, and would be replaced while another is not well.

    So no `up` makes worse what an interrupted or failed one left behind. `memory` is in MiB.
    """

    async def checked(known: str) -> str:
        await asyncio.to_thread(_check, known, memory, member, others)
        return known

    return pulumi.Output.from_input(image).apply(checked)


def _check(image: str, memory: int, member: Member, others: Sequence[Member]) -> None:
    """Raises pulumi.RunError."""
    if pulumi.runtime.is_dry_run() or not member.differs(image, memory) or not member.rank():
        return
    for other in others:
        if complaint := other.await_well(BACK_SECONDS):
            raise pulumi.RunError(
                f"{member.container} is to be replaced, but without it too few would be left: "
                f"{other.container} is not well: {complaint}\n"
                f"  fix: see `docker logs {other.container}`, mend it, and run `pulumi up` again"
            )


def back_after_create(member: Member) -> pulumi.ResourceHookBinding:
    """A hook that waits until a member that was replaced is one of the cluster again; the next one waits for it."""

    def wait(_: pulumi.ResourceHookArgs) -> None:
        if complaint := member.await_well(BACK_SECONDS):
            raise pulumi.RunError(f"{member.container} is not back in the cluster, so no other is touched: {complaint}")

    return pulumi.ResourceHookBinding(after_create=[pulumi.ResourceHook(f"back-{member.container}", wait)])
