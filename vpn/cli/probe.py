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
NO_ENGINE_FIX = "start the engine; without hosts in the config, set DOCKER_HOST to the one that runs the mesh"
# Both print what they reached, and at last that they are through: else nobody knows what silence means.
PING = f"""
for address; do ping -q -c 1 -W {SECONDS} "$address" >/dev/null 2>&1 && echo "$address" & done
wait; echo done"""
CONNECT = f"""
said=$(timeout {SECONDS} bash -c 'exec 3<>/dev/tcp/$0/$1' "$1" "$2" 2>&1) && echo "$1"
case $said in *refused*) echo "$1" ;; esac; echo done"""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The Docker engine of a host, for Docker's own command line."""

    address: str | None = None
    """None for the one that it finds by itself."""
    certificates: str | None = None
    """Folder with ca.pem, cert.pem and key.pem, for an engine behind TCP."""

    @property
    def docker(self) -> tuple[str, ...]:
        """The command, up to what it shall do."""
        where = ("--host", self.address) if self.address else ()
        return ("docker", *self._tls, *where)

    @property
    def _tls(self) -> tuple[str, ...]:
        folder = self.certificates
        if folder is None:
            return ()
        return (
            "--tlsverify",
            f"--tlscacert={folder}/ca.pem",
            f"--tlscert={folder}/cert.pem",
            f"--tlskey={folder}/key.pem",
        )


OWN = Engine()


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
    engine: Engine = OWN

    def run(self, *arguments: str) -> command.Result:
        """Run a command there. Raises CliError when the engine does not answer."""
        inside = ("exec", self.container)
        shared = ("--network", f"container:{self.container}", "--cap-drop", "ALL", "--read-only")
        beside = ("run", "--rm", "--label", "dstack-vpn.probe", *shared, self.image)
        where = beside if self.image else inside
        result = command.ask([*self.engine.docker, *where, *arguments], env=os.environ, timeout=ENGINE_SECONDS)
        if NO_ENGINE in result.output:
            raise CliError(result.output.strip(), fix=NO_ENGINE_FIX)
        return result


def image_of(container: str, engine: Engine = OWN) -> str:
    """ID of the image of a container, which for a node has the tools for a probe. Raises CliError."""
    result = command.ask([*engine.docker, "inspect", "--format", "{{.Image}}", container], env=os.environ)
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
