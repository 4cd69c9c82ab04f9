"""Waits until every node, and the gate, has applied what the config carrier brought it, and says who has not.

The carrier is asked in its container instead of by a health check: Docker and the provider would look at that once a
second, could not tell who is missing, and would not look at all when a carrier is not replaced.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pulumi

import docker as engine

WAIT_SECONDS = 60
WAIT_SECONDS_EACH = 4  # fifty nodes that start at once on two cores need minutes
FIX = "`docker exec <node> health` says why; mend that, then `pulumi up`"


async def until_applied(carrier: str, readers: int) -> bool:
    """Wait until those, so many, that a carrier's container serves have applied their config; true in the end.

    A preview asks nobody. Raises pulumi.RunError naming those that did not in time.
    """
    if not pulumi.runtime.is_dry_run():
        await asyncio.to_thread(_confirm, carrier, WAIT_SECONDS + WAIT_SECONDS_EACH * readers)
    return True


def _confirm(carrier: str, seconds: int) -> None:
    said = ""
    with closing(engine.from_env(timeout=seconds + WAIT_SECONDS)) as client:
        call = client.api.exec_create(carrier, ["carrier", "confirm", str(seconds)])["Id"]
        for said in _lines(client.api.exec_start(call, stream=True)):
            pulumi.log.info(said, ephemeral=True)
        status = client.api.exec_inspect(call)["ExitCode"]
    if status != 0:
        reason = said or f"the config carrier ended with status {status}"
        raise pulumi.RunError(f"the config was not applied by every node within {seconds} s; {reason}\n    fix: {FIX}")


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    for chunk in chunks:
        yield from chunk.decode(errors="replace").splitlines()
