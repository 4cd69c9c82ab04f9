"""Waits until every node, relay and gate has applied what was brought to it, and says who has not.

Here is also where all hosts are told one moment, when nodes go over to new keys: no host knows of another.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Barrier, BrokenBarrierError
from typing import Protocol

import pulumi

import docker
from vpn.keepers import KeeperError

WAIT_SECONDS = 60
WAIT_SECONDS_EACH = 4  # fifty nodes that start at once on two cores need minutes
SWITCH_SECONDS, SWITCH_SECONDS_EACH, SWITCH_MOST = 2, 0.05, 12  # until all have read what was delivered
SWITCH_SECONDS_APART = 1  # more when engines are elsewhere
FIX = "`docker exec <node> health` says why, in a confidential VM its logs; mend that, then `pulumi up`"


class Recipient(Protocol):
    """What is delivered to a host, step by step; each step says what went wrong, or nothing."""

    @property
    def name(self) -> str:
        """For people."""

    def reached(self, seconds: float) -> AbstractContextManager["Steps"]:
        """Speak with it; each step may take so many seconds."""


class Steps(Protocol):
    """First everything is delivered everywhere, then all is confirmed."""

    def deliver(self, seconds: int) -> str:
        """Have everything there, not yet applied for sure."""

    def confirm(self, seconds: int, moment: int) -> str:
        """Have all go over to new keys at a moment, in milliseconds since 1970, and wait until they applied all."""


async def until_applied(recipients: Sequence[Recipient], readers: int) -> bool:
    """Wait until those, so many, that read what is brought have applied it; true in the end.

    A preview asks nobody. Raises pulumi.RunError naming those that did not in time.
    """
    if pulumi.runtime.is_dry_run():
        return True
    turn = _Turn(len(recipients), readers)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max(len(recipients), 1)) as pool:  # of its own: all have to be there at once
        tasks = [loop.run_in_executor(pool, turn.complaint, recipient) for recipient in recipients]
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

    def complaint(self, recipient: Recipient) -> str:
        """Who of a host is missing in the end, or why nobody knows; empty if all is well."""
        said = "ended before all was said"
        try:
            with recipient.reached(self.seconds + WAIT_SECONDS) as steps:
                said = self._take(steps)
        except (docker.errors.DockerException, KeeperError, OSError) as error:
            said = str(error)
        except BrokenBarrierError:
            said = "waited for another host"
        finally:
            if said:
                self._all_delivered.abort()
        return f"{recipient.name}: {said}" if said else ""

    def _take(self, steps: Steps) -> str:
        failed = steps.deliver(self.seconds)
        if failed:
            return failed
        self._all_delivered.wait(self.seconds)
        return steps.confirm(self.seconds, self._moment)
