"""What nodes cost that have nothing to do: memory in MiB, processor time in ms per second."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import docker as sdk

KIB = 1024
MIB = KIB * KIB
NANOSECONDS = 1_000_000  # in a ms


@dataclass(frozen=True, kw_only=True)
class Idle:
    """One number for each node."""

    memory: list[float]
    """MiB as `docker stats` tells: what the kernel charges to the container, but for files that it could drop."""
    resident: list[float]
    """MiB, sum over the container's processes; what they share counts for each."""
    processor: list[float]
    """ms per second, of all cores."""


def watch(containers: Sequence[str], seconds: float) -> Idle:
    """Leave running containers alone for so long, and see what they used."""
    with closing(sdk.from_env()) as client, ThreadPoolExecutor() as pool:
        before, started = list(pool.map(partial(_stats, client), containers)), time.monotonic()
        time.sleep(seconds)
        after, passed = list(pool.map(partial(_stats, client), containers)), time.monotonic() - started
        resident = list(pool.map(partial(_resident, client), containers))
    spent = [_spent(late) - _spent(early) for early, late in zip(before, after, strict=True)]
    return Idle(memory=[_charged(one) for one in after], resident=resident, processor=[one / passed for one in spent])


def processor_time(containers: Sequence[str]) -> float:
    """What containers used so far, in seconds of all cores."""
    with closing(sdk.from_env()) as client:
        return sum(_spent(_stats(client, container)) for container in containers) / 1000


def _stats(client: sdk.DockerClient, container: str) -> dict[str, Any]:
    return dict(client.api.stats(container, stream=False, one_shot=True))


def _spent(stats: Mapping[str, Any]) -> float:
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / NANOSECONDS


def _charged(stats: Mapping[str, Any]) -> float:
    """The same sum as the docker command's: control groups v1 and v2 name the droppable files differently."""
    memory = stats["memory_stats"]
    details = memory["stats"]
    return float(memory["usage"] - details.get("total_inactive_file", details.get("inactive_file", 0))) / MIB


def _resident(client: sdk.DockerClient, container: str) -> float:
    top = client.api.top(container, ps_args="-eo pid,rss")
    return sum(int(process[1]) for process in top["Processes"]) * KIB / MIB
