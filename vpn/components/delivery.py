"""Waits until every node, relay and gate has applied what the config carriers brought, and says who has not.

The carriers are asked in their containers instead of by a health check: Docker and the provider would look at that once
a second, could not tell who is missing, and would not look at all when a carrier is not replaced.

Here is also where all hosts are told one moment, when nodes go over to new keys: no carrier knows of another.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping

import pulumi

from vpn.engines import connected
from vpn.model.hosts import Host

WAIT_SECONDS = 60
WAIT_SECONDS_EACH = 4  # fifty nodes that start at once on two cores need minutes
SWITCH_SECONDS, SWITCH_SECONDS_EACH, SWITCH_MOST = 2, 0.05, 12  # until all have read what was delivered
FIX = "`docker exec <node> health` says why; mend that, then `pulumi up`"


async def until_applied(carriers: Mapping[Host, str], readers: int) -> bool:
    """Wait until those, so many, that the hosts' carriers serve have applied their config; true in the end.

    A preview asks nobody. Raises pulumi.RunError naming those that did not in time.
    """
    if pulumi.runtime.is_dry_run():
        return True
    wait = min(SWITCH_SECONDS + SWITCH_SECONDS_EACH * readers, SWITCH_MOST)
    moment, seconds = round((time.time() + wait) * 1000), WAIT_SECONDS + WAIT_SECONDS_EACH * readers
    found = await asyncio.gather(
        *(asyncio.to_thread(_confirm, host, carrier, seconds, moment) for host, carrier in carriers.items())
    )
    complaints = [complaint for complaint in found if complaint]
    if complaints:
        told = "; ".join(complaints)
        raise pulumi.RunError(f"the config was not applied by every node within {seconds} s; {told}\n    fix: {FIX}")
    return True


def _confirm(host: Host, carrier: str, seconds: int, moment: int) -> str:
    """Who of a host is missing in the end; empty if nobody is."""
    said = ""
    with connected(host, seconds + WAIT_SECONDS) as engine:
        call = engine.exec_create(carrier, ["carrier", "confirm", str(seconds), str(moment)])["Id"]
        for said in _lines(engine.exec_start(call, stream=True)):
            pulumi.log.info(f"{host.name}: {said}", ephemeral=True)
        status = engine.exec_inspect(call)["ExitCode"]
    return "" if status == 0 else f"{host.name}: {said or f'the config carrier ended with status {status}'}"


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    for chunk in chunks:
        yield from chunk.decode(errors="replace").splitlines()
