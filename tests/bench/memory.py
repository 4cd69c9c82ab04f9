"""Memory of idle nodes, in MiB."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.engine import docker
from tests.bench.shell import BenchError

KIB = 1024
MIB = KIB * KIB
UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": MIB * KIB}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What nodes use, one number each."""

    charged: list[float]
    """As `docker stats` tells: what the kernel charges to the container, but for files that it could drop."""
    resident: list[float]
    """Sum over its processes; memory that they share counts for each."""


def of(containers: Sequence[str]) -> Memory:
    """Look at running containers."""
    lines = docker("stats", "--no-stream", "--format", "{{json .}}", *containers).splitlines()
    charged = [mib(json.loads(line)["MemUsage"].partition(" / ")[0]) for line in lines]
    return Memory(charged=charged, resident=[_resident(name) for name in containers])


def mib(text: str) -> float:
    """Read what docker prints, like 7.1MiB."""
    number = re.fullmatch(r"([\d.]+)(\w+)", text)
    if number is None or number[2] not in UNITS:
        raise BenchError(f"docker stats prints {text!r} for a size")
    return float(number[1]) * UNITS[number[2]] / MIB


def _resident(container: str) -> float:
    _, *processes = docker("top", container, "-eo", "pid,rss").splitlines()
    return sum(int(line.split()[1]) for line in processes) * KIB / MIB
