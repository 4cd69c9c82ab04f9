"""Looks from where packets come: a ping from a node, and a TCP connection from a node or a workload."""

import os
from dataclasses import dataclass
from enum import Enum

from bootstrap import command
from vpn.cli.failure import CliError

PING_SECONDS, CONNECT_SECONDS = 2, 2
ENGINE_SECONDS = 30  # to start a container
CONNECT = "exec 3<>/dev/tcp/$0/$1"
NO_ENGINE = "Cannot connect to the Docker daemon"


class Found(Enum):
    """What came of a probe."""

    REACHED = "reached"
    DENIED = "not reached"
    UNKNOWN = "cannot be probed"


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


def ping(place: Place, address: str) -> Found:
    """Whether an address answers."""
    answer = place.run("ping", "-q", "-c", "1", "-W", str(PING_SECONDS), address)
    return Found.REACHED if answer.ok else Found.DENIED


def connect(place: Place, address: str, port: int) -> Found:
    """Whether a TCP port can be reached; a refusal comes from there as well."""
    result = place.run("timeout", str(CONNECT_SECONDS), "bash", "-c", CONNECT, address, str(port))
    return Found.REACHED if result.ok or "Connection refused" in result.output else Found.DENIED
