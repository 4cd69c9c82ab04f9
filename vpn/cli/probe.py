"""Looks from where packets come: a ping from a node, and a TCP connection from a node or a workload."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import docker
from vpn.cli import look
from vpn.engines import Engine

SECONDS = 2  # for an answer
# Both print what they reached, and at last that they are through: else nobody knows what silence means.
PING = f"""
for address; do ping -q -c 1 -W {SECONDS} "$address" >/dev/null 2>&1 && echo "$address" & done
wait; echo done"""
CONNECT = f"""
said=$(timeout {SECONDS} bash -c 'exec 3<>/dev/tcp/$0/$1' "$1" "$2" 2>&1) && echo "$1"
case $said in *refused*) echo "$1" ;; esac; echo done"""


class Found(Enum):
    """What came of a probe."""

    REACHED = "reached"
    DENIED = "not reached"
    UNKNOWN = "cannot be tried"
    FAILED = "the look failed"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a probe starts."""

    engine: Engine
    container: str
    tools: str = ""
    """A container with an image to look from beside this one, which has no tools of its own; empty: from inside."""

    def run(self, *command: str) -> Sequence[str]:
        """The words that a command prints there; none when the engine cannot run it."""
        try:
            if self.tools:
                return look.run_beside(self.engine, self.container, self.tools, *command).split()
            return look.run(self.engine, self.container, *command)[1].split()
        except (docker.errors.DockerException, OSError):
            return ()


def ping(place: Place, addresses: Sequence[str]) -> dict[str, Found]:
    """Which addresses answer, all asked at once."""
    words = place.run("bash", "-c", PING, "bash", *addresses)
    return {address: _found(words, address) for address in addresses}


def connect(place: Place, address: str, port: str) -> Found:
    """Whether a TCP port can be reached; a refusal comes from there as well."""
    return _found(place.run("bash", "-c", CONNECT, "bash", address, port), address)


def _found(words: Sequence[str], address: str) -> Found:
    if "done" not in words:
        return Found.FAILED
    return Found.REACHED if address in words else Found.DENIED
