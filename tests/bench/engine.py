"""What the bench asks of the Docker engine. All it makes there is named with one prefix, and goes by it."""

import json
from typing import Any

from tests.bench.shell import BenchError, run, say

PREFIX = "vpnbench"
IMAGE = f"{PREFIX}/iperf3:latest"
NODE_IMAGE = f"{PREFIX}/kept:latest"
"""A second name of the node image, so that it outlives the stack that destroys the first."""
REMOVALS = {
    "container": (["ps", "-aq"], ["rm", "--force", "--volumes"]),
    "network": (["network", "ls", "-q"], ["network", "rm"]),
    "volume": (["volume", "ls", "-q"], ["volume", "rm", "--force"]),
}
STEP_SECONDS = 60
PING_SECONDS = 30


def docker(*arguments: str, timeout: float = STEP_SECONDS, stdin: str = "") -> str:
    """Run the docker command and return what it printed."""
    return run(["docker", *arguments], timeout=timeout, stdin=stdin)


def execute(container: str, *command: str, timeout: float = STEP_SECONDS, stdin: str = "") -> str:
    """Run a command inside a container."""
    return docker("exec", "--interactive", container, *command, timeout=timeout, stdin=stdin)


def wait_for_ping(container: str, address: str) -> None:
    """Return when a ping from a container to an address comes back; the container may not even be ready to send."""
    ping = f"until ping -q -c 1 -i 0.2 -w 1 {address}; do sleep 0.1; done"
    execute(container, "timeout", str(PING_SECONDS), "sh", "-c", f"{ping} >/dev/null 2>&1", timeout=PING_SECONDS + 10)


def containers(prefix: str) -> dict[str, str]:
    """ID of every container whose name begins so, by name."""
    listed = docker("ps", "--all", "--no-trunc", "--filter", f"name=^/?{prefix}", "--format", "{{.Names}} {{.ID}}")
    return dict(line.split(maxsplit=1) for line in listed.splitlines())


def inspect(kind: str, name: str) -> dict[str, Any]:
    """Everything the engine knows of a container or network."""
    return dict(json.loads(docker(kind, "inspect", name))[0])


def build(node_image: str, context: str) -> None:
    """Keep the node image that the stack built, and build the one with iperf3 on top of it."""
    say("building the image with iperf3")
    docker("tag", node_image, NODE_IMAGE)
    docker("build", "--tag", IMAGE, "--build-arg", f"NODE_IMAGE={NODE_IMAGE}", context, timeout=600)


def clean() -> None:
    """Remove everything of the bench's, also what a killed run left."""
    clear()
    _remove("image", docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{PREFIX}/*").split(), ["rmi"])


def clear(prefix: str = f"{PREFIX}-") -> None:
    """Remove containers, networks and volumes whose name begins so; what still ends is waited for."""
    for _ in range(3):
        for kind, (listing, removal) in REMOVALS.items():
            _remove(kind, docker(*listing, "--filter", f"name=^/?{prefix}").split(), removal)
        if not any(docker(*listing, "--filter", f"name=^/?{prefix}") for listing, _ in REMOVALS.values()):
            break


def _remove(kind: str, found: list[str], removal: list[str]) -> None:
    if not found:
        return
    try:
        docker(*removal, *found, timeout=STEP_SECONDS + len(found))
    except BenchError as error:
        say(f"removing a {kind}: {error}")
