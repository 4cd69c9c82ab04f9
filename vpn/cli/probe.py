"""Looks from where packets come: a ping from a node, and a TCP connection from a node or a workload."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bootstrap import command
from vpn.cli.failure import CliError

SECONDS = 2  # for an answer
ENGINE_SECONDS = 60  # to start a container, beside many others
NO_ENGINE = "Cannot connect to the Docker daemon"
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

    container: str
    image: str = ""
    """To look from beside the container, where it has no tools of its own; empty: from inside."""

    def run(self, *arguments: str) -> command.Result:
        """Run a command there. Raises CliError when the engine does not answer."""
        inside = ("docker", "exec", self.container)
        shared = ("--network", f"container:{self.container}", "--cap-drop", "ALL", "--read-only")
        beside = ("docker", "run", "--rm", "--label", "dstack-vpn.probe", *shared, self.image)
        result = command.ask([*(beside if self.image else inside), *arguments], env=os.environ, timeout=ENGINE_SECONDS)
        if NO_ENGINE in result.output:
            raise CliError(result.output.strip(), fix="set DOCKER_HOST to the engine that runs the mesh")
        return result


def image_of(container: str) -> str:
    """ID of the image of a container, which for a node has the tools for a probe. Raises CliError."""
    result = command.ask(["docker", "inspect", "--format", "{{.Image}}", container], env=os.environ)
    if not result.ok:
        raise CliError(result.output.strip(), fix="`pulumi up` brings the mesh up")
    return result.answer.strip()


def ping(place: Place, addresses: Sequence[str]) -> dict[str, Found]:
    """Which addresses answer, all asked at once."""
    result = place.run("bash", "-c", PING, "bash", *addresses)
    return {address: _found(result, address) for address in addresses}


def connect(place: Place, address: str, port: str) -> Found:
    """Whether a TCP port can be reached; a refusal comes from there as well."""
    return _found(place.run("bash", "-c", CONNECT, "bash", address, port), address)


def _found(result: command.Result, address: str) -> Found:
    lines = result.answer.split()
    if "done" not in lines:
        return Found.FAILED
    return Found.REACHED if address in lines else Found.DENIED
